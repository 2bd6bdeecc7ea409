"""Full Jacobian regularization: every logit's input gradient at once, by random projections."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.core.classifier import Classifier
from defenses.base import Defense, Objective, Training
from defenses.gradients import BatchNorm, both_logits, gradient_of, traced
from defenses.space import LogUniform


@dataclass(frozen=True, kw_only=True)
class FullJacobian(Defense):
    """Penalise the Frobenius norm of the input-logit Jacobian (Hoffman et al. 2019, arXiv 1908.02729, algorithm 1).

    Idea: keep all logits, not the decision function alone, from moving with the image.
    Formula: L_CE + (λ/2)·mean_i ‖J(x_i)‖_F², J = ∂Z/∂x, estimated as K·mean_v ‖∂(v·Z)/∂x‖² over random unit
    vectors v of R^K.
    Defaults: λ = 0.01 and one projection, the paper's.
    Cost: 3 + 3·projections forward units; batch norm adds 3 for a forward of the penalty's own.
    Known weakness: as every penalty at the image itself; the paper's robustness to PGD is far below adversarial
    training's.

    Attributes:
        weight: λ above.
        projections: random vectors per image and step.
        bn: batch norm in the penalty's forward: "eval" keeps images independent, "train" reuses the batch's own.
    """

    name: ClassVar[str] = "full-jacobian"
    family: ClassVar[str] = "input gradient"

    weight: Annotated[float, Field(ge=0, le=1e6), LogUniform(1e-3, 1)] = 0.01
    projections: Annotated[int, Field(ge=1, le=1000)] = 1
    bn: BatchNorm = "eval"

    def forward_units(self) -> float:
        """Forward, a backward to the input for each projection, and a backward through all."""
        return 3.0 + 3.0 * self.projections

    def objective(self, training: Training) -> Objective:
        """Cross-entropy and the estimated Frobenius norm."""
        return ProjectedJacobian(training, self)


class ProjectedJacobian(Objective):
    """L_CE + (λ/2)·mean ‖J‖_F²."""

    def __init__(self, training: Training, defense: FullJacobian) -> None:
        super().__init__(training)
        self.defense = defense

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise for images [B, C, H, W] and labels [B]."""
        points = traced(images)
        logits, apart = both_logits(classifier, points, self.defense.bn)
        squares = [self._projected(apart, points) for _ in range(self.defense.projections)]
        penalty = torch.stack(squares).mean()
        return self.cross_entropy(logits, labels) + self.defense.weight / 2 * penalty

    def _projected(self, logits: Tensor, points: Tensor) -> Tensor:
        """K·mean_i ‖∂(v_i·Z_i)/∂x_i‖² for unit vectors v drawn uniformly, one an image."""
        vectors = torch.randn(logits.shape, generator=self.generator, device=self.generator.device)
        vectors = torch.nn.functional.normalize(vectors, dim=1).to(logits)
        gradient = gradient_of((vectors * logits).sum(dim=1), points)
        return logits.shape[1] * gradient.flatten(1).square().sum(dim=1).mean()
