"""The threat: a norm and an exact radius ε around each image."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, get_args

from bench.core.errors import UserError
from bench.core.limits import MOST_WRITTEN, exact_number, radius_of
from bench.core.values import shown

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Norm = Literal["linf", "l2"]
NORMS: tuple[str, ...] = get_args(Norm)

#: How far outside the ball or the pixel box float32 rounding may put an adversarial image.
TOLERANCE = 1e-5


@dataclass(frozen=True)
class Threat:
    """An ℓ∞ or ℓ2 ball of radius ε around each image, cut with the pixel box [0, 1].

    ε is kept as it was written ("8/255"), so that 0.0313 is another threat and never shares a table.

    Args:
        norm: "linf" or "l2".
        eps: ε as text, a fraction or a decimal number, in units of pixels in [0, 1].

    Raises:
        UserError: for an unknown norm, or an ε that is no number, negative, smaller than `SMALLEST` without being
            zero, above 1 (ℓ∞) or `LARGEST_RADIUS` (ℓ2), or longer than `MOST_CHARACTERS`.
    """

    norm: Norm
    eps: str

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise UserError(f"unknown norm {self.norm!r}; expected one of {', '.join(NORMS)}")
        radius_of(self.norm, self.eps)

    @classmethod
    def parse(cls, text: str) -> "Threat":
        """Read "linf:8/255", "l2:0.5", or a bare "8/255" (ℓ∞).

        Raises:
            UserError: when the text has another form, or ε is not above zero.
        """
        if len(text) > MOST_WRITTEN:
            raise UserError(f"expected a threat such as linf:8/255, got {shown(text)}")
        norm, _, eps = text.rpartition(":")
        norm = norm.strip().lower() or "linf"
        if norm not in NORMS:
            raise UserError(
                f"unknown norm {shown(norm)} in threat {shown(text)}; expected linf:8/255 or l2:0.5"
            )
        threat = cls(norm, eps.strip())  # type: ignore[arg-type]
        if threat.exact == 0:
            raise UserError(f"ε must be above 0, got {text!r}; clean accuracy is measured without a threat")
        return threat

    @property
    def exact(self) -> Fraction:
        """ε as an exact fraction: two threats are the same when norm and this agree."""
        return exact_number(self.eps)

    @property
    def radius(self) -> float:
        """ε as a float."""
        return float(self.exact)

    def __str__(self) -> str:
        return f"{self.norm}:{self.eps}"

    def scaled(self, factor: "Fraction | int | str") -> "Threat":
        """The same norm with `factor`·ε (ℓ∞: at most 1)."""
        radius = self.exact * Fraction(factor)
        return Threat(self.norm, str(min(radius, Fraction(1)) if self.norm == "linf" else radius))

    def project(self, images: "Tensor", origin: "Tensor") -> "Tensor":
        """The nearest point of the ball around `origin` and then of the pixel box, both [B, C, H, W].

        For ℓ∞ the two cuts commute and the result is the exact projection; for ℓ2 clipping after the
        projection keeps both constraints (clipping never leads away from an origin inside the box).
        """
        if self.norm == "linf":
            images = images.clamp(origin - self.radius, origin + self.radius)
        else:
            delta = images - origin
            length = delta.flatten(1).norm(dim=1).clamp_min(1e-12)
            scale = (self.radius / length).clamp_max(1.0)
            images = origin + delta * scale.view(-1, *[1] * (images.dim() - 1))
        return images.clamp(0.0, 1.0)

    def random_start(self, images: "Tensor", generator: "torch.Generator") -> "Tensor":
        """A point drawn uniformly from the ball around each image [B, C, H, W], cut to the pixel box.

        The draw happens on the generator's device, so a CPU generator gives the same start everywhere.
        """
        import torch

        shape, at = images.shape, generator.device
        if self.norm == "linf":
            noise = torch.rand(shape, generator=generator, device=at) * 2 - 1
        else:
            noise = torch.randn(shape, generator=generator, device=at)
            inner = torch.rand(shape[0], generator=generator, device=at)
            length = noise.flatten(1).norm(dim=1).clamp_min(1e-12)
            scale = inner.pow(1.0 / noise[0].numel()) / length
            noise = noise * scale.view(-1, *[1] * (images.dim() - 1))
        return self.project(images + self.radius * noise.to(images), images)

    def distance(self, images: "Tensor", origin: "Tensor") -> "Tensor":
        """The norm of the difference per image, computed in float64: [B]."""
        delta = (images.double() - origin.double()).flatten(1)
        return delta.abs().amax(dim=1) if self.norm == "linf" else delta.norm(dim=1)

    def allows(self, images: "Tensor", origin: "Tensor", tolerance: float = TOLERANCE) -> "Tensor":
        """Which images [B] lie in the ball and in the pixel box, up to `tolerance`; NaN never does."""
        inside = self.distance(images, origin) <= self.radius + tolerance
        flat = images.flatten(1)
        return inside & (flat.amin(dim=1) >= -tolerance) & (flat.amax(dim=1) <= 1 + tolerance)
