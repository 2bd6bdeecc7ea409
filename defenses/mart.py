"""MART: adversarial training that weights misclassified images more."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bench.attacks.losses import LOSSES
from bench.core.classifier import Classifier
from defenses.ascent import AttackMode, attacking, surrogate_attack
from defenses.base import Attacked, Defense, Objective, Training
from defenses.space import Uniform
from defenses.trades import kl_divergence


@dataclass(frozen=True, kw_only=True)
class MART(Defense):
    """Boosted cross-entropy, and a divergence weighted by error probability (Wang et al. 2020, ICLR, algorithm 1).

    Idea: images that are misclassified without attack matter most for robustness, so weight them more.
    Formula: BCE(p(x'), y) + β·KL(p(x) ‖ p(x'))·(1 − p_y(x)), BCE = −log p_y(x') − log(1 − max_{k≠y} p_k(x')).
    Defaults: the authors' β = 5 and ten steps of .007 at ε = 8/255 on the cross-entropy, from x + N(0, .001²);
    "auto" scales the step with ε/steps.
    Cost: 2·steps + 6 forward units: the attack, then forwards and backwards of both images.
    Known weakness: its gain over TRADES is smaller under AutoAttack than under PGD (Croce & Hein 2020).

    Attributes:
        beta: weight of the divergence, λ in the paper.
        steps: iterations of the attack.
        step_size: "auto", or a number in pixel units.
        attack_mode: "eval" attacks with batch norm on its running statistics, "train" in the mode of the training.
    """

    name: ClassVar[str] = "mart"
    family: ClassVar[str] = "surrogate loss"
    attacks: ClassVar[bool] = True

    beta: Annotated[float, Field(ge=0, le=1000), Uniform(1, 10)] = 5.0
    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    step_size: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    attack_mode: AttackMode = "eval"

    def forward_units(self) -> float:
        """The attack, then a forward and a backward of clean and attacked images."""
        return self.attack_units() + 6

    def attack_units(self) -> float:
        """A forward and a backward to the input for each step."""
        return 2.0 * self.steps

    def objective(self, training: Training) -> Objective:
        """Boosted cross-entropy and weighted divergence."""
        return MisclassificationAware(training, self)


class MisclassificationAware(Attacked):
    """BCE(x') + β·KL(p(x) ‖ p(x'))·(1 − p_y(x))."""

    def __init__(self, training: Training, defense: MART) -> None:
        super().__init__(training)
        self.defense = defense

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The last iterate of a cross-entropy attack for every image [B, C, H, W]."""
        defense, threat = self.defense, self.training.threat
        with attacking(classifier, defense.attack_mode):
            return surrogate_attack(
                lambda points: LOSSES["ce"](classifier(points), labels),
                images,
                threat,
                defense.step_size,
                defense.steps,
                self.generator,
            )

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images and attacked images [B, C, H, W] and labels [B]."""
        clean, moved = classifier(images), classifier(attacked)
        error = 1 - F.softmax(clean, dim=1).gather(1, labels.unsqueeze(1)).squeeze(1)
        boosted = self.cross_entropy(moved, labels) + runner_up(moved, labels).mean()
        return boosted + self.defense.beta * (kl_divergence(clean, moved) * error).mean()


def runner_up(logits: Tensor, labels: Tensor) -> Tensor:
    """−log(1 − max_{k≠y} p_k) for each row, p = softmax(logits): [B, K] and [B] to [B].

    Computed from the logits as log Σ_k e^{Z_k} − log Σ_{k≠j} e^{Z_k}, where j is the most probable other class,
    since 1 − p would be 0 where p rounds to 1.
    """
    others = logits.detach().scatter(1, labels.unsqueeze(1), -float("inf"))
    strongest = others.argmax(dim=1, keepdim=True)
    without = logits.scatter(1, strongest, -float("inf"))
    return logits.logsumexp(dim=1) - without.logsumexp(dim=1)
