"""How steeply the decision function decreases around an image (decision-surface paper, §4)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.attacks.losses import Objective
from bench.core.checks import check_finite
from bench.core.gradients import cached_rows, input_gradient
from bench.core.guards import evaluating, frozen, random_state_kept
from bench.core.margins import decision_function
from bench.core.threat import Threat

#: Entries of the Jacobian below this count as zero (decision-surface paper, §4.3), in logits per pixel unit.
NEAR_ZERO = 1e-3


@dataclass(frozen=True)
class Jacobian:
    """The decision function L and its input gradient at B images.

    Attributes:
        margin: L [B], in logits.
        gradient: J = ∂L/∂x [B, C, H, W], in logits per pixel unit for pixels in [0, 1].
    """

    margin: Tensor
    gradient: Tensor

    @property
    def l1(self) -> Tensor:
        """‖J‖₁, float64 [B]."""
        return self.gradient.flatten(1).double().norm(p=1, dim=1)

    @property
    def l2(self) -> Tensor:
        """‖J‖₂, float64 [B]."""
        return self.gradient.flatten(1).double().norm(dim=1)

    def near_zero(self, threshold: float = NEAR_ZERO) -> Tensor:
        """The share of entries with |J_i| below a threshold, float64 [B]."""
        return (self.gradient.flatten(1).abs() < threshold).double().mean(dim=1)

    def first_order_margin(self, threat: Threat) -> Tensor:
        """L / (ε‖J‖₁), float64 [B]: above 1 no perturbation within ε crosses the boundary of the linearized L.

        Under ℓ2 the norm that bounds J·δ is ‖J‖₂, which replaces ‖J‖₁. Where ε‖J‖ is zero, the ratio is ∞ with the
        sign of L, or 0 where L is zero.

        Args:
            threat: norm and ε, in pixel units.

        Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equations 6 and 9.
        """
        margin = self.margin.double()
        reach = threat.radius * (self.l1 if threat.norm == "linf" else self.l2)
        return torch.where(margin == 0, margin, margin / reach)


def decision_jacobian(
    classifier: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 500
) -> Jacobian:
    """L(x) and J = ∂L/∂x of every image, with one forward and one backward pass each.

    The competing class is chosen without gradient. Where two competing classes tie, J is the gradient for the
    first.

    Args:
        classifier: images to logits [B, K]; used in eval mode and left as it was.
        images: [B, C, H, W].
        labels: int64 [B].
        batch_size: images per pass.

    Raises:
        NotFinite: when the network gives NaN.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equations 2 and 4.
    """
    rows = cached_rows(images[:1], batch_size)
    with evaluating(classifier), frozen(classifier), random_state_kept(0):
        parts = [
            slopes(classifier, some, own)
            for some, own in zip(images.split(rows), labels.split(rows), strict=True)
        ]
    margins, gradients = zip(*parts, strict=True)
    check_finite(torch.cat(margins))
    return Jacobian(torch.cat(margins), torch.cat(gradients))


def slopes(
    network: Callable[[Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    objective: Objective = decision_function,
) -> tuple[Tensor, Tensor]:
    """The value [B] of a function of the logits at every image, and its input gradient [B, C, H, W].

    Args:
        network: images to logits; the caller is responsible for its mode and its parameters.
        images, labels: one batch.
        objective: logits [B, K] and labels [B] to [B].
    """
    with torch.enable_grad():
        points = images.detach().requires_grad_()
        values = objective(network(points), labels)
        gradient = input_gradient(values, points)
    return values.detach(), gradient
