"""Adversarial training: train on attacked images."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from bench.attacks import maximise
from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.threat import Threat
from defenses.ascent import AttackMode
from defenses.base import Attacked, Defense, Objective, Training
from defenses.space import Uniform
from defenses.warmup import warmup_epochs


@dataclass(frozen=True, kw_only=True)
class AdversarialTraining(Defense):
    """Minimize the cross-entropy on adversarial images of the current network (Madry et al. 2018,
    arXiv 1706.06083, eq. 2.1).

    Idea: train on the images that the network will be tested on.
    Formula: min_θ E max_{‖δ‖ ≤ ε} L_CE(f(x + δ), y); with `clean_weight` w the loss is
    (1 − w)·L_CE(x + δ) + w·L_CE(x), which at w = 0.5 and FGSM or BIM is Kurakin et al.'s.
    Defaults: ten steps of 2.5·ε/10, which at ε = 8/255 is the usual 2/255. P1's rows use `steps=20`, and
    `step_size="paper"` for a step of 2/255 at every ε; Yu et al.'s AdvTrain uses `attack="cw"`.
    On MNIST at ε = 0.3, a network that starts at full ε may stay at chance for epochs; `warmup` increases ε slowly.
    Cost: 2·steps + 3 forward units a step.
    Known weakness: clean accuracy decreases, and late epochs overfit the attack (Rice et al. 2020).

    Attributes:
        attack: "pgd", "fgsm" and "bim" maximize the cross-entropy, "cw" the negative margin. "fgsm" is one step of
            ε from the image itself; "bim" starts at the image; "pgd" and "cw" start at random.
        steps: iterations of the attack.
        step_size: "auto" is 2.5·ε/steps, "paper" is 2/255, or a number in pixel units.
        eps_factor: ε of the training attack divided by the threat's.
        clean_weight: weight of the loss on clean images.
        attack_mode: "eval" attacks with batch norm on its running statistics, "train" in the mode of the training.
        warmup: epochs in which ε increases to its full size: a share below 1, a number of epochs from 1 on.
    """

    name: ClassVar[str] = "at"
    family: ClassVar[str] = "adversarial training"
    attacks: ClassVar[bool] = True

    attack: Literal["pgd", "fgsm", "bim", "cw"] = "pgd"
    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    step_size: Literal["auto", "paper"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    eps_factor: Annotated[float, Field(gt=0, le=4), Uniform(0.5, 1.5)] = 1.0
    clean_weight: Annotated[float, Field(ge=0, lt=1), Uniform(0, 0.5)] = 0.0
    attack_mode: AttackMode = "eval"
    warmup: Annotated[float, Field(ge=0, le=100_000)] = 0.0

    def forward_units(self) -> float:
        """The attack, then a training step on its images and, with `clean_weight`, on the clean ones."""
        return self.attack_units() + (6 if self.clean_weight else 3)

    def attack_units(self) -> float:
        """A forward and a backward to the input for each step."""
        return 2 * (1 if self.attack == "fgsm" else self.steps)

    def objective(self, training: Training) -> Objective:
        """Cross-entropy on attacked images."""
        return Adversarial(training, self)


def scale_threat(threat: Threat, factor: float, name: str) -> Threat:
    """The threat with ε multiplied by `factor`.

    Args:
        threat: to scale.
        factor: a defense's `eps_factor`.
        name: the defense's, for the message.

    Raises:
        UserError: when an ℓ∞ threat becomes larger than the pixel range.
    """
    exact = Fraction(str(factor))
    if threat.norm == "linf" and exact * threat.exact > 1:
        raise UserError(
            f"{name}: eps_factor={factor:g} times ε={threat.eps} is above 1, the whole pixel range"
        )
    return threat.scaled(exact)


class Adversarial(Attacked):
    """(1 − w)·L_CE on attacked images + w·L_CE on clean ones."""

    def __init__(self, training: Training, defense: AdversarialTraining) -> None:
        super().__init__(training)
        self.defense = defense
        self.full_threat = self.threat = scale_threat(training.threat, defense.eps_factor, defense.name)
        self.warmup = warmup_epochs(defense.name, defense.warmup, training.epochs, "full ε")

    def epoch(self, number: int) -> None:
        """Set ε to number / (warmup + 1) of its full size until the warm-up is over."""
        self.threat = self.full_threat.scaled(min(Fraction(number, self.warmup + 1), Fraction(1)))

    def settled(self) -> bool:
        """Whether ε has its full size."""
        return self.threat == self.full_threat

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The last iterate of the training attack for every image [B, C, H, W]."""
        defense = self.defense
        single = defense.attack == "fgsm"
        return maximise(
            classifier,
            images,
            labels,
            self.threat,
            self.generator,
            steps=1 if single else defense.steps,
            step_size="auto" if single else defense.step_size,
            loss="margin" if defense.attack == "cw" else "ce",
            random_start=defense.attack in ("pgd", "cw"),
            mode=defense.attack_mode,
        )

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images and attacked images [B, C, H, W] and labels [B]."""
        weight = self.defense.clean_weight
        loss = self.cross_entropy(classifier(attacked), labels)
        if weight == 0:
            return loss
        return (1 - weight) * loss + weight * self.cross_entropy(classifier(images), labels)
