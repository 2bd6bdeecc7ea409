"""Curvature regularization: make the loss bend less around each image."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from bench.core.classifier import Classifier
from bench.core.guards import evaluating
from bench.core.margins import cross_entropy
from defenses.base import Defense, Objective, Training
from defenses.gradients import both_logits, differentiable_logits, gradient_of, traced
from defenses.space import LogUniform, Uniform
from defenses.warmup import warmup_epochs


@dataclass(frozen=True, kw_only=True)
class CURE(Defense):
    """Penalise the change of the loss gradient along its own sign (Moosavi-Dezfooli et al. 2019, arXiv 1811.09716).

    Idea: adversarial training flattens the loss; ask for the flatness without the attack.
    Formula: L_CE + λ·mean_i ‖∇ℓ(x_i + h·z_i) − ∇ℓ(x_i)‖₂², z = sign ∇ℓ(x) / ‖sign ∇ℓ(x)‖₂, without gradient in z.
    Defaults: λ = 4 and h = 1.5, the authors'. h is an ℓ2 length in pixels of [0, 1]: 1.5 on 3x32x32 moves each
    pixel by 1.5/√3072 = 6.9/255, on 1x8x8 by 48/255. The authors fine-tune a trained network, so half of the epochs
    are plain cross-entropy first. λ = 4 undoes what `cnn6` learned on the digits; the search reaches down to 0.1.
    Cost: 12 forward units: two forwards, two backwards to the input, and a backward through all four. Batch norm
    adds 3: the penalty runs in eval mode, as the authors' does.
    Known weakness: flat along one direction only; Croce & Hein (2020) find less under AutoAttack than the paper
    under PGD.

    Attributes:
        weight: λ above.
        h: length of the step, in ℓ2 pixels.
        warmup: cross-entropy alone first: a share of the epochs below 1, a number of epochs from 1 on.
    """

    name: ClassVar[str] = "cure"
    family: ClassVar[str] = "curvature"

    weight: Annotated[float, Field(ge=0, le=1e6), LogUniform(0.1, 40)] = 4.0
    h: Annotated[float, Field(gt=0, le=100), Uniform(0.1, 3)] = 1.5
    warmup: Annotated[float, Field(ge=0, le=100_000)] = 0.5

    def forward_units(self) -> float:
        """Two forwards, two backwards to the input, and a backward through all four."""
        return 12.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy and the curvature penalty."""
        return Curvature(training, self)


class Curvature(Objective):
    """L_CE + λ·mean ‖∇ℓ(x + hz) − ∇ℓ(x)‖²."""

    def __init__(self, training: Training, defense: CURE) -> None:
        super().__init__(training)
        self.defense = defense
        self.warmup = warmup_epochs(defense.name, defense.warmup, training.epochs, "penalty")
        self.active = False

    def epoch(self, number: int) -> None:
        """Take up the penalty once the warm-up is over."""
        self.active = number > self.warmup

    def settled(self) -> bool:
        """Not before the warm-up is over."""
        return self.active

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise for images [B, C, H, W] and labels [B]."""
        if not self.active:
            return self.cross_entropy(classifier(images), labels)
        points = traced(images)
        logits, apart = both_logits(classifier, points)
        here = gradient_of(cross_entropy(apart, labels), points)
        beyond = (images + self.defense.h * unit_sign(here.detach())).requires_grad_()
        with evaluating(classifier):
            there = gradient_of(cross_entropy(differentiable_logits(classifier, beyond), labels), beyond)
        bend = (there - here).flatten(1).square().sum(dim=1).mean()
        return self.cross_entropy(logits, labels) + self.defense.weight * bend


def unit_sign(gradient: Tensor) -> Tensor:
    """sign g / ‖sign g‖₂ of each image's gradient [B, C, H, W]; zero where the gradient is."""
    sign = gradient.sign()
    length = sign.flatten(1).norm(dim=1).clamp_min(1.0)
    return sign / length.view(-1, 1, 1, 1)
