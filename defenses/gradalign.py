"""GradAlign: FGSM training that aligns the input gradients within the ball."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bench.attacks import maximise
from bench.core.classifier import Classifier
from bench.core.guards import evaluating, random_state_kept
from bench.core.margins import cross_entropy
from defenses.ascent import AttackMode
from defenses.base import Defense, Objective, Training
from defenses.gradients import differentiable_logits, gradient_of, require_gradient
from defenses.single_step import SingleStep
from defenses.space import LogUniform


@dataclass(frozen=True, kw_only=True)
class GradAlign(Defense):
    """FGSM training with a penalty on misaligned gradients (Andriushchenko & Flammarion 2020, arXiv 2007.02617).

    Idea: single-step training fails when the loss is no longer locally linear, so keep it linear.
    Formula: L_CE(f(x + δ), y) + λ·(1 − mean cos(∇ℓ(x), ∇ℓ(x + η))), δ one FGSM step of ε, η uniform in the ball.
    Defaults: λ = 0.2 with FGSM from the image itself, the authors' for ε = 8/255; larger ε need a larger λ.
    Cost: 17 forward units: FGSM, the step, and double backward at two points.
    Known weakness: with too small a λ, catastrophic overfitting returns; the history shows it as for `fast`.

    Attributes:
        weight: λ above.
        attack_mode: "eval" attacks with batch norm on its running statistics, "train" in the mode of the training.
    """

    name: ClassVar[str] = "gradalign"
    family: ClassVar[str] = "surrogate loss"
    attacks: ClassVar[bool] = True

    weight: Annotated[float, Field(ge=0, le=1000), LogUniform(0.02, 2)] = 0.2
    attack_mode: AttackMode = "eval"

    def forward_units(self) -> float:
        """FGSM, the step, and at two points a forward, a backward to the input and a backward through both."""
        return self.attack_units() + 3 + 12

    def attack_units(self) -> float:
        """A forward and a backward to the input."""
        return 2.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy on FGSM images, and the alignment penalty."""
        return Aligned(training, self)


class Aligned(SingleStep):
    """L_CE(x + δ) + λ·(1 − mean cos(∇ℓ(x), ∇ℓ(x + η)))."""

    def __init__(self, training: Training, defense: GradAlign) -> None:
        super().__init__(training)
        self.defense = defense

    def single_step(
        self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """One step of ε from the image: [B, C, H, W]."""
        return maximise(
            classifier,
            images,
            labels,
            self.training.threat,
            generator,
            steps=1,
            random_start=False,
            mode=self.defense.attack_mode,
        )

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images and attacked images [B, C, H, W] and labels [B]."""
        here = require_gradient(images)
        there = require_gradient(self.training.threat.random_start(images, self.generator))
        with evaluating(classifier), random_state_kept():
            gradients = [self._gradient(classifier, points, labels) for points in (here, there)]
        misalignment = 1 - cosine(*gradients).mean()
        return self.cross_entropy(classifier(attacked), labels) + self.defense.weight * misalignment

    @staticmethod
    def _gradient(classifier: Classifier, points: Tensor, labels: Tensor) -> Tensor:
        return gradient_of(cross_entropy(differentiable_logits(classifier, points), labels), points)


def cosine(first: Tensor, second: Tensor) -> Tensor:
    """The cosine of each pair of gradients [B, C, H, W], [B]; 0 where one of them is zero."""
    return F.cosine_similarity(first.flatten(1), second.flatten(1), dim=1, eps=1e-12)
