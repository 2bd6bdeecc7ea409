"""Curvature of the decision boundary, and the detector based on it (classification regions, §IV–V)."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import jvp
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from bench.core.errors import UserError, unknown_name
from bench.core.gradients import cached_rows, input_gradients
from bench.core.guards import evaluating, frozen
from bench.core.passes import forward_mode
from bench.core.progress import Task

Estimator = Literal["second_difference", "gradient_difference", "softplus"]
Orientation = Literal["algorithm2", "section2"]

#: Images measured between two updates of the progress bar; their directions still fill a batch.
_AT_ONCE = 20

#: Images [M, ...] to logits [M, L].
Network = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Curvature:
    """The quantities of algorithm 2 for B images; for skipped images they are NaN, and the recovered label is −1.

    Attributes:
        score: ρ float64 [B], the mean curvature of the boundaries with the other classes, per pixel unit.
        standard_error: float64 [B], of ρ over the random directions.
        per_class: float64 [B, L], the mean curvature of the boundary with each class, of which ρ is the mean;
            NaN at the predicted class, where F = 0.
        predicted: int64 [B], k̂.
        recovered: int64 [B], the label that algorithm 2 recovers: the class with the largest `per_class` in the
            orientation of algorithm 2, also where `per_class` has the other one.
        skipped: bool [B], images where some ‖∇F‖ vanishes, so that the boundary has no normal.
        h: step length, in pixel units.
    """

    score: Tensor
    standard_error: Tensor
    per_class: Tensor
    predicted: Tensor
    recovered: Tensor
    skipped: Tensor
    h: float

    def perturbed(self, threshold: float = 0.0) -> Tensor:
        """Images [B] that algorithm 2 flags: ρ ≥ t (lines 6–7, whose second branch must read "true")."""
        return self.score >= threshold


def step_length(dimension: int, h_scale: float = 1.0) -> float:
    """h = √d · 10/512 · h_scale for pixels in [0, 1]: 1.083 for 3x32x32, 0.547 for 28x28.

    A ReLU network has curvature only over a finite step, so every result depends on h. The rounding error of second
    differences is about eps·|F|/h²: do not choose h much below 1 in float32.
    """
    return math.sqrt(dimension) * 10 / 512 * h_scale


def unit_vectors(count: int, shape: torch.Size, generator: torch.Generator) -> Tensor:
    """Uniform draws from the unit sphere of images, float64 [count, *shape], on the generator's device."""
    vectors = torch.randn(
        count, shape.numel(), generator=generator, device=generator.device, dtype=torch.double
    )
    return (vectors / vectors.norm(dim=1, keepdim=True)).view(count, *shape)


def second_difference(
    network: Network, points: Tensor, logits: Tensor, directions: Tensor, h: float
) -> Tensor:
    """(f(x + hv) − 2f(x) + f(x − hv)) / h², float64 [M, L]: vᵀHv of every logit from two forward passes.

    Args:
        network: [M, ...] to logits [M, L].
        points: x [M, ...].
        logits: f(x) [M, L].
        directions: unit vectors v, shaped like `points`.
        h: step length, in pixel units.
    """
    ends = torch.cat([points + h * directions, points - h * directions])
    above, below = network(ends).double().chunk(2)
    return (above - 2 * logits.double() + below) / h**2


def gradient_difference(
    network: Network, points: Tensor, logits: Tensor, directions: Tensor, h: float
) -> Tensor:
    """vᵀ(∇f(x + hv) − ∇f(x − hv)) / 2h, float64 [M, L]: vᵀHv of every logit from two directional derivatives.

    Arguments as for `second_difference`; `logits` is not used.
    """
    ends = torch.cat([points + h * directions, points - h * directions])
    above, below = _slopes(network, ends, torch.cat([directions, directions])).double().chunk(2)
    return (above - below) / (2 * h)


def second_derivative(
    network: Network, points: Tensor, logits: Tensor, directions: Tensor, h: float
) -> Tensor:
    """vᵀHv of every logit, exactly, float64 [M, L]: the directional derivative of a directional derivative.

    Arguments as for `second_difference`; `logits` and `h` are not used.
    """
    return _slopes(lambda images: _slopes(network, images, directions), points, directions).double()


#: (network, points, logits, directions, h) to vᵀHv of every logit.
QuadraticForm = Callable[[Network, Tensor, Tensor, Tensor, float], Tensor]

_ESTIMATORS: Mapping[str, QuadraticForm] = {
    "second_difference": second_difference,
    "gradient_difference": gradient_difference,
    "softplus": second_derivative,
}


def smoothed(network: Network, beta: float) -> Network:
    """The network with softplus(x) = log(1 + exp(βx))/β in place of every ReLU, whether layer or function.

    Max pooling keeps its kinks, whose second derivative is zero.

    Args:
        network: images to logits; it is not changed.
        beta: β > 0, per unit of pre-activation; the smoothed network converges to the network as β grows.

    Raises:
        UserError: on a call of the smoothed network, when it has another activation with kinks.
    """

    def forward(images: Tensor) -> Tensor:
        with _Softplus(beta):
            return network(images)

    return forward


def mean_curvature(
    classifier: nn.Module,
    images: Tensor,
    generator: torch.Generator,
    *,
    directions: int = 100,
    estimator: Estimator = "second_difference",
    orientation: Orientation = "algorithm2",
    h_scale: float = 1.0,
    beta: float = 10.0,
    batch_size: int = 500,
    task: Task | None = None,
) -> Curvature:
    """Score ρ of algorithm 2: the mean curvature of the decision boundaries at each image.

    κ̄_i = (tr H_i − nᵀH_i n) / ((d − 1)‖∇F_i‖),  ρ = mean of κ̄_i over i ≠ k̂,  F_i = f_i − f_k̂.

    tr H_i = d·E[vᵀH_i v] is estimated over T random directions v, the same for all classes and images; nᵀH_i n is
    measured along n = ∇F_i/‖∇F_i‖. Second differences take 2T + 2(L − 1) + 1 forward and L − 1 backward passes per
    image. We depart from the paper's text where it is in error: n is normalized, the mean over the unit sphere is
    tr/d and not tr/(d − 1), ρ averages over L − 1 classes, and the predicted class is left out.

    Args:
        classifier: images to logits [B, L]; used in eval mode and left as it was.
        images: [B, C, H, W] in [0, 1].
        generator: source of the directions, which are drawn once, so that ρ does not depend on the batches.
        directions: T, the number of directions.
        estimator: how vᵀHv is measured: "second_difference" and "gradient_difference" over the finite step h,
            "softplus" exactly on the smoothed network.
        orientation: "algorithm2" takes F_i = f_i − f_k̂, "section2" the opposite, which changes the sign of every
            curvature, but not the recovered label.
        h_scale: factor of h; see `step_length`.
        beta: argument of `smoothed`; only for the estimator "softplus".
        batch_size: the largest number of images per forward pass; fewer on a CPU whose caches hold fewer.
        task: the progress bar, which advances by one per image.

    Raises:
        UserError: for an unknown estimator or orientation, fewer than 2 directions, classes or pixels, no image, or
            another setting that is not above zero.

    Source: Fawzi et al., Classification regions of deep neural networks, §IV eq. 1, §V algorithm 2.
    """
    check_settings(estimator, orientation, directions, h_scale, beta, batch_size)
    shape = images.shape[1:]
    if len(images) == 0 or shape.numel() < 2:
        raise UserError(f"expected images of at least 2 pixels, one or more, got shape {tuple(images.shape)}")
    unit = unit_vectors(directions, shape, generator).to(images)
    h = step_length(shape.numel(), h_scale)
    network = smoothed(classifier, beta) if estimator == "softplus" else classifier
    batch_size = cached_rows(images[0], batch_size)
    with evaluating(classifier), frozen(classifier):
        parts = []
        for some in images.split(max(1, min(_AT_ONCE, batch_size // 2))):
            parts.append(_curvature(classifier, network, some, unit, _ESTIMATORS[estimator], h, batch_size))
            if task is not None:
                task.advance(len(some))
    return _oriented(parts, 1.0 if orientation == "algorithm2" else -1.0)


def check_settings(
    estimator: str,
    orientation: str,
    directions: int,
    h_scale: float,
    beta: float = 10.0,
    batch_size: int = 500,
) -> None:
    """Check the settings of `mean_curvature`.

    Raises:
        UserError: for an unknown estimator or orientation, fewer than 2 directions, or a setting not above 0.
    """
    if estimator not in _ESTIMATORS:
        raise unknown_name("curvature estimator", estimator, _ESTIMATORS)
    if orientation not in get_args(Orientation):
        raise unknown_name("orientation", orientation, get_args(Orientation))
    if directions < 2:
        raise UserError(f"a standard error needs at least 2 directions, got directions={directions}")
    for name, value in (("h_scale", h_scale), ("beta", beta), ("batch_size", batch_size)):
        if not value > 0:
            raise UserError(f"expected {name} above 0, got {value}")


@dataclass(frozen=True)
class _Margins:
    """Map logits to F_i = f_i − f_k̂ for i ≠ k̂.

    Attributes:
        predicted: k̂, int64 [B].
        others: the other classes, int64 [B, L − 1].
    """

    predicted: Tensor
    others: Tensor

    @classmethod
    def of(cls, predicted: Tensor, classes: int) -> "_Margins":
        every = torch.arange(classes, device=predicted.device).expand(len(predicted), -1)
        return cls(predicted, every[every != predicted[:, None]].view(len(predicted), -1))

    def __call__(self, values: Tensor) -> Tensor:
        """Map a quantity of every logit [..., B, L] to that of every F_i [..., B, L − 1]."""
        other = values.gather(-1, self.others.expand(*values.shape[:-1], -1))
        return other - values.gather(-1, self.predicted[:, None].expand(*values.shape[:-1], 1))


def _curvature(
    classifier: nn.Module,
    network: Network,
    images: Tensor,
    unit: Tensor,
    form: QuadraticForm,
    h: float,
    batch_size: int,
) -> Curvature:
    """The `Curvature` of one batch, in the orientation of algorithm 2."""
    count, dimension = len(images), images[0].numel()
    points = images.detach().requires_grad_()
    with torch.enable_grad():
        logits = network(points)
    classes = logits.shape[1]
    if classes < 2:
        raise UserError(f"a boundary needs at least 2 classes, got logits of shape {tuple(logits.shape)}")
    with torch.no_grad():
        predicted = (logits if network is classifier else classifier(images)).argmax(dim=1)
    margins = _Margins.of(predicted, classes)
    length, normal_form = _normals(network, points, logits, margins, form, h)

    total = torch.zeros_like(normal_form)
    scores = []
    for some in unit.split(max(1, batch_size // (2 * count))):
        with torch.no_grad():
            forms = form(
                network,
                images.repeat(len(some), *[1] * (images.dim() - 1)),
                logits.repeat(len(some), 1),
                some.repeat_interleave(count, dim=0),
                h,
            )
        trace = dimension * margins(forms.view(len(some), count, -1))
        curvatures = (trace - normal_form) / ((dimension - 1) * length)
        total += curvatures.sum(dim=0)
        scores.append(curvatures.mean(dim=2))
    score = torch.cat(scores)

    # Where F changes over one step by less than the rounding error of the logits, its normal is noise.
    resolution = torch.finfo(logits.dtype).eps * logits.detach().abs().amax(dim=1, keepdim=True)
    skipped = ~(length * h > resolution).all(dim=1)
    nan = torch.full((), math.nan, dtype=torch.double, device=images.device)
    per_class = nan.expand(count, classes).scatter(1, margins.others, total / len(unit))
    return Curvature(
        score=torch.where(skipped, nan, score.mean(dim=0)),
        standard_error=torch.where(skipped, nan, score.std(dim=0) / math.sqrt(len(unit))),
        per_class=torch.where(skipped[:, None], nan, per_class),
        predicted=predicted,
        recovered=predicted,
        skipped=skipped,
        h=h,
    )


def _normals(
    network: Network, points: Tensor, logits: Tensor, margins: _Margins, form: QuadraticForm, h: float
) -> tuple[Tensor, Tensor]:
    """‖∇F_i‖ and nᵀH_i n of every other class, float64 [B, L − 1]."""
    images = points.detach()
    lengths, along = [], []
    with torch.enable_grad():
        for column, gradient in enumerate(input_gradients(margins(logits), points)):
            # In float64, because squares of a saturated network's gradient underflow in float32.
            gradient = gradient.double()
            lengths.append(gradient.flatten(1).norm(dim=1))
            nonzero = lengths[-1].where(lengths[-1] > 0, 1.0).view(-1, *[1] * (images.dim() - 1))
            with torch.no_grad():
                forms = form(network, images, logits, (gradient / nonzero).to(images), h)
                along.append(margins(forms)[:, column])
    return torch.stack(lengths, dim=1), torch.stack(along, dim=1)


def _oriented(parts: Sequence[Curvature], sign: float) -> Curvature:
    """Join the batches, recover the label of the largest curvature, and then multiply every curvature by `sign`."""
    joined = {
        field.name: torch.cat([getattr(part, field.name) for part in parts])
        for field in fields(Curvature)
        if isinstance(getattr(parts[0], field.name), Tensor)
    }
    recovered = joined["per_class"].nan_to_num(nan=-math.inf).argmax(dim=1)
    joined |= {
        "score": sign * joined["score"],
        "per_class": sign * joined["per_class"],
        "recovered": recovered.masked_fill(joined["skipped"], -1),
    }
    return Curvature(**joined, h=parts[0].h)


def _slopes(network: Network, points: Tensor, directions: Tensor) -> Tensor:
    """Directional derivatives of every logit [M, L] in one forward-mode pass."""
    with warnings.catch_warnings(), forward_mode():
        # On first use, forward mode emits a warning about a deprecated part of torch that it uses itself.
        warnings.filterwarnings("ignore", message=".*torch.jit.script")
        return jvp(network, (points,), (directions,))[1]


class _Softplus(TorchFunctionMode):
    """A context in which every ReLU computes softplus."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name == "relu":
            return F.softplus(args[0], beta=self.beta)
        if name == "relu_":
            return args[0].copy_(F.softplus(args[0], beta=self.beta))
        if name.removesuffix("_") in ("relu6", "leaky_relu", "prelu", "rrelu", "hardtanh", "threshold"):
            raise UserError(f"cannot smooth {name}: estimator='softplus' is for networks of ReLUs")
        return func(*args, **(kwargs or {}))
