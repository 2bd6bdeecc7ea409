"""Full Jacobian regularization: penalize the input gradients of all logits through random projections."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.core.classifier import Classifier
from defenses.base import Defense, Objective, Training
from defenses.gradients import BatchNorm, both_logits, gradient_of, require_gradient
from defenses.space import LogUniform


@dataclass(frozen=True, kw_only=True)
class FullJacobian(Defense):
    """Penalize the Frobenius norm of the input-logit Jacobian (Hoffman et al. 2019, arXiv 1908.02729, algorithm 1).

    Idea: make all logits insensitive to the image, and not the decision function alone.
    Formula: L_CE + (λ/2)·mean_i ‖J(x_i)‖_F², J = ∂Z/∂x, estimated as K·mean_v ‖∂(v·Z)/∂x‖² over random unit
    vectors v of R^K.
    Defaults: λ = 0.01 and one projection, the paper's.
    Cost: 3 + 3·projections forward units; batch norm adds 3 for a separate forward pass of the penalty.
    Known weakness: it constrains the network at the training images alone; the paper's robustness to PGD is far
    below that of adversarial training.

    Attributes:
        weight: λ above.
        projections: random vectors for each image and step.
        bn: batch norm in the penalty's forward pass; "eval" keeps images independent, "train" does not.
    """

    name: ClassVar[str] = "full-jacobian"
    family: ClassVar[str] = "input gradient"

    weight: Annotated[float, Field(ge=0, le=1e6), LogUniform(1e-3, 1)] = 0.01
    projections: Annotated[int, Field(ge=1, le=1000)] = 1
    bn: BatchNorm = "eval"

    def forward_units(self) -> float:
        """A forward, a backward to the input for each projection, and a backward through all."""
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
        """The scalar to minimize for images [B, C, H, W] and labels [B]."""
        points = require_gradient(images)
        logits, penalty_logits = both_logits(classifier, points, self.defense.bn)
        squares = [self._projected(penalty_logits, points) for _ in range(self.defense.projections)]
        penalty = torch.stack(squares).mean()
        return self.cross_entropy(logits, labels) + self.defense.weight / 2 * penalty

    def _projected(self, logits: Tensor, points: Tensor) -> Tensor:
        """K·mean_i ‖∂(v_i·Z_i)/∂x_i‖² for unit vectors v drawn uniformly, one for each image."""
        vectors = torch.randn(logits.shape, generator=self.generator, device=self.generator.device)
        vectors = torch.nn.functional.normalize(vectors, dim=1).to(logits)
        gradient = gradient_of((vectors * logits).sum(dim=1), points)
        return logits.shape[1] * gradient.flatten(1).square().sum(dim=1).mean()
