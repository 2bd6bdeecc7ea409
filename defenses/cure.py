"""Curvature regularization: reduce the curvature of the loss around each image."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from bench.core.classifier import Classifier
from bench.core.guards import evaluating
from bench.core.margins import cross_entropy
from defenses.base import Defense, Objective, Training
from defenses.gradients import both_logits, differentiable_logits, gradient_of, require_gradient
from defenses.space import LogUniform, Uniform
from defenses.warmup import warmup_epochs


@dataclass(frozen=True, kw_only=True)
class CURE(Defense):
    """Penalize the change of the loss gradient along its own sign (Moosavi-Dezfooli et al. 2019, arXiv 1811.09716).

    Idea: adversarial training reduces the curvature of the loss; penalize the curvature without an attack.
    Formula: L_CE + λ·mean_i ‖∇ℓ(x_i + h·z_i) − ∇ℓ(x_i)‖₂², z = sign ∇ℓ(x) / ‖sign ∇ℓ(x)‖₂, with z constant.
    Defaults: the authors' λ = 4 and h = 1.5. h is an ℓ2 length for pixels in [0, 1]: 1.5 moves each pixel of a
    3x32x32 image by 1.5/√3072 = 6.9/255, and each pixel of a 1x8x8 image by 48/255. The authors fine-tune a trained
    network, so the first half of the epochs is plain cross-entropy. λ = 4 undoes what `cnn6` learned on the digits;
    the search range begins at 0.1.
    Cost: 12 forward units: two forwards, two backwards to the input, and a backward through all four. Batch norm
    adds 3, since the penalty is computed in eval mode, as by the authors.
    Known weakness: the loss is flat along one direction alone; Croce & Hein (2020) find lower robustness under
    AutoAttack than the paper under PGD.

    Attributes:
        weight: λ above.
        h: ℓ2 length of the step in pixel units.
        warmup: first epochs with cross-entropy alone: a share below 1, a number of epochs from 1 on.
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
        """Add the penalty once the warm-up is over."""
        self.active = number > self.warmup

    def settled(self) -> bool:
        """Whether the warm-up is over."""
        return self.active

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images [B, C, H, W] and labels [B]."""
        if not self.active:
            return self.cross_entropy(classifier(images), labels)
        points = require_gradient(images)
        logits, penalty_logits = both_logits(classifier, points)
        here = gradient_of(cross_entropy(penalty_logits, labels), points)
        beyond = (images + self.defense.h * unit_sign(here.detach())).requires_grad_()
        with evaluating(classifier):
            there = gradient_of(cross_entropy(differentiable_logits(classifier, beyond), labels), beyond)
        curvature = (there - here).flatten(1).square().sum(dim=1).mean()
        return self.cross_entropy(logits, labels) + self.defense.weight * curvature


def unit_sign(gradient: Tensor) -> Tensor:
    """sign g / ‖sign g‖₂ for each image's gradient g [B, C, H, W]; a zero gradient stays zero."""
    sign = gradient.sign()
    length = sign.flatten(1).norm(dim=1).clamp_min(1.0)
    return sign / length.view(-1, 1, 1, 1)
