"""The Jacobian regularizer: flatten the decision function around each training image."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from bench.core.margins import decision_function
from defenses.base import Defense, Objective, Training
from defenses.gradients import BatchNorm, GradientNorm, GradientPenalty, PixelScale, Reduction
from defenses.space import LogUniform


@dataclass(frozen=True, kw_only=True)
class Jacobian(Defense):
    """Penalize the input gradient of the decision function (Yu et al. 2018, arXiv 1810.00144, eqs. 11, 12).

    Idea: the smaller the gradient of the decision function, the larger the step across the decision boundary.
    Formula: L_CE + c·‖∂L/∂x‖ with L(x) = Z_t(x) − max_{i≠t} Z_i(x).
    Defaults: the paper states c = 500 but neither norm, reduction nor pixel scale. c = 500 has the right scale for
    `reduce="batch_mean_grad", norm="l2_squared"`; for the per-image penalty, the default here, we chose c.
    Cost: 6 forward units: a forward, a backward to the input, and a backward through both. The paper reports 2.1
    times standard training. Batch norm adds 3 for a separate forward pass of the penalty, unless `bn="train"`.
    Known weakness: a first-order argument, which fails where the surface is curved; the paper says so for larger ε.
    With batch norm and a large learning rate, a network can become accurate in training mode and constant in eval
    mode, where it is penalized; with `bn="train"` it did not.

    Attributes:
        c: weight of the penalty.
        norm, reduce, pixel_scale: see `defenses.gradients.gradient_penalty`.
        bn: batch norm in the penalty's forward pass; "eval" keeps images independent, "train" does not.
    """

    name: ClassVar[str] = "jacobian"
    family: ClassVar[str] = "input gradient"

    c: Annotated[float, Field(ge=0, le=1e6), LogUniform(1e-3, 10)] = 0.1
    norm: GradientNorm = "l2"
    reduce: Reduction = "per_sample"
    pixel_scale: PixelScale = 1
    bn: BatchNorm = "eval"

    def forward_units(self) -> float:
        """A forward, a backward to the input, and a backward through both."""
        return 6.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy and the penalty on the decision function."""
        return GradientPenalty(
            training, decision_function, self.c, self.norm, self.reduce, self.pixel_scale, self.bn
        )
