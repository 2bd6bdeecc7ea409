"""Cross-entropy gradient regularization: keep the input gradient of the loss small."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from bench.core.margins import cross_entropy
from defenses.base import Defense, Objective, Training
from defenses.gradients import BatchNorm, GradientNorm, GradientPenalty, PixelScale, Reduction
from defenses.space import LogUniform


@dataclass(frozen=True, kw_only=True)
class CEGradient(Defense):
    """Penalize the input gradient of the cross-entropy (Ross & Doshi-Velez 2018, arXiv 1711.09404, section 3).

    Idea: where the loss hardly depends on the image, an attack has no direction to follow.
    Formula: L_CE + c·‖∂L_CE/∂x‖₂², the gradient being that of the batch mean.
    Defaults: in this convention, the squared norm is B times smaller than the mean over images, and the paper's
    weights lie between 1e2 and 1e5. We chose 100, the smallest. On 8x8 images and in batches of 32 that already
    stops learning, and the best of a few weights was between 3 and 10, so a search begins at 1.
    Cost: 6 forward units; batch norm adds 3 for a separate forward pass of the penalty, unless `bn="train"`.
    Known weakness: softmax saturates, so a confident network has a small gradient without a flat decision surface
    (decision-surface paper, section 5.2).

    Attributes:
        c: weight of the penalty, λ in the paper.
        norm, reduce, pixel_scale: see `defenses.gradients.gradient_penalty`.
        bn: batch norm in the penalty's forward pass; "eval" keeps images independent, "train" does not.
    """

    name: ClassVar[str] = "ce-gradient"
    family: ClassVar[str] = "input gradient"

    c: Annotated[float, Field(ge=0, le=1e8), LogUniform(1, 1e5)] = 1e2
    norm: GradientNorm = "l2_squared"
    reduce: Reduction = "batch_mean_grad"
    pixel_scale: PixelScale = 1
    bn: BatchNorm = "eval"

    def forward_units(self) -> float:
        """A forward, a backward to the input, and a backward through both."""
        return 6.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy and the penalty on its own gradient."""
        return GradientPenalty(
            training, cross_entropy, self.c, self.norm, self.reduce, self.pixel_scale, self.bn
        )
