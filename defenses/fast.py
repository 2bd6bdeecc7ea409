"""Fast adversarial training: one step from a random start."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from bench.attacks import maximise
from bench.core.classifier import Classifier
from defenses.ascent import AttackMode
from defenses.at import scale_threat
from defenses.base import Defense, Objective, Training
from defenses.single_step import SingleStep
from defenses.space import Uniform


@dataclass(frozen=True, kw_only=True)
class Fast(Defense):
    """Adversarial training with random-start FGSM (Wong et al. 2020, arXiv 2001.03994, algorithm 3).

    Idea: with a random start, training on one step is nearly as good as training on many.
    Formula: min_θ E L_CE(f(x + δ), y), δ = η + α·sign ∇ℓ(x + η) projected onto the ball, η uniform in the ball.
    Defaults: α = 1.25·ε, the paper's.
    Cost: 5 forward units.
    Known weakness: catastrophic overfitting, in which the network becomes robust to the single step alone within an
    epoch. In the history, `catastrophic_overfitting` is 1 once PGD-10 breaks images that the single step does not.

    Attributes:
        step_factor: α/ε.
        eps_factor: ε of the training attack divided by the threat's.
        attack_mode: "eval" attacks with batch norm on its running statistics, "train" in the mode of the training.
    """

    name: ClassVar[str] = "fast"
    family: ClassVar[str] = "adversarial training"
    attacks: ClassVar[bool] = True

    step_factor: Annotated[float, Field(gt=0, le=2), Uniform(0.5, 2)] = 1.25
    eps_factor: Annotated[float, Field(gt=0, le=4), Uniform(0.5, 1.5)] = 1.0
    attack_mode: AttackMode = "eval"

    def forward_units(self) -> float:
        """The step of the attack, then a training step."""
        return self.attack_units() + 3

    def attack_units(self) -> float:
        """A forward and a backward to the input."""
        return 2.0

    def objective(self, training: Training) -> Objective:
        """Cross-entropy on images after one step of FGSM."""
        return RandomStartFGSM(training, self)


class RandomStartFGSM(SingleStep):
    """L_CE on images after one step of FGSM from a random start."""

    def __init__(self, training: Training, defense: Fast) -> None:
        super().__init__(training)
        self.defense = defense
        self.threat = scale_threat(training.threat, defense.eps_factor, defense.name)

    def single_step(
        self, classifier: Classifier, images: Tensor, labels: Tensor, generator: torch.Generator
    ) -> Tensor:
        """One step of α from a random start, projected onto the ball: [B, C, H, W]."""
        length = self.defense.step_factor * self.threat.radius
        return maximise(
            classifier,
            images,
            labels,
            self.threat,
            generator,
            steps=1,
            step_size=length,
            mode=self.defense.attack_mode,
        )

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for attacked images [B, C, H, W] and labels [B]."""
        return self.cross_entropy(classifier(attacked), labels)
