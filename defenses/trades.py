"""TRADES: trade clean accuracy against a prediction that does not change under attack."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from bench.core.classifier import Classifier
from defenses.ascent import AttackMode, attacking, surrogate_attack
from defenses.base import Attacked, Defense, Objective, Training
from defenses.space import Uniform


@dataclass(frozen=True, kw_only=True)
class TRADES(Defense):
    """Cross-entropy, and the divergence of predictions under attack (Zhang et al. 2019, arXiv 1901.08573,
    algorithm 1).

    Idea: robust error is clean error plus boundary error; bound the latter by the change of the prediction.
    Formula: L_CE(f(x), y) + β·KL(p(x) ‖ p(x')), x' = argmax of the same divergence in the ball.
    Defaults: the authors' β = 6 and ten steps of .007 at ε = 8/255 from x + N(0, .001²); "auto" scales the step
    with ε/steps.
    Cost: 2·steps + 7 forward units: a clean forward and the attack, then forwards and backwards of both images.
    Known weakness: a larger β costs clean accuracy; small values can mask gradients.

    Attributes:
        beta: weight of the divergence, 1/λ in the paper.
        steps: iterations of the attack.
        step_size: "auto", or a number in pixel units.
        attack_mode: "eval" attacks with batch norm on its running statistics, "train" in the mode of the training.
    """

    name: ClassVar[str] = "trades"
    family: ClassVar[str] = "surrogate loss"
    attacks: ClassVar[bool] = True

    beta: Annotated[float, Field(ge=0, le=1000), Uniform(1, 10)] = 6.0
    steps: Annotated[int, Field(ge=1, le=1000)] = 10
    step_size: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = "auto"
    attack_mode: AttackMode = "eval"

    def forward_units(self) -> float:
        """The attack, then a forward and a backward of clean and attacked images."""
        return self.attack_units() + 6

    def attack_units(self) -> float:
        """The clean prediction, then a forward and a backward to the input for each step."""
        return 2.0 * self.steps + 1

    def objective(self, training: Training) -> Objective:
        """Cross-entropy and divergence."""
        return Tradeoff(training, self)


class Tradeoff(Attacked):
    """L_CE(x) + β·KL(p(x) ‖ p(x'))."""

    def __init__(self, training: Training, defense: TRADES) -> None:
        super().__init__(training)
        self.defense = defense

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The images of the ball whose prediction diverges most from the clean one: [B, C, H, W]."""
        defense, threat = self.defense, self.training.threat
        with attacking(classifier, defense.attack_mode):
            # Detached instead of under no_grad, where some releases of torch cache autocast's casts without graph.
            clean = classifier(images).detach()
            return surrogate_attack(
                lambda points: kl_divergence(clean, classifier(points)),
                images,
                threat,
                defense.step_size,
                defense.steps,
                self.generator,
            )

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images and attacked images [B, C, H, W] and labels [B]."""
        clean = classifier(images)
        moved = kl_divergence(clean, classifier(attacked)).mean()
        return self.cross_entropy(clean, labels) + self.defense.beta * moved


def kl_divergence(logits: Tensor, other: Tensor) -> Tensor:
    """KL(softmax(logits) ‖ softmax(other)) in nats for each row: from two [B, K] to [B]."""
    target = F.log_softmax(logits, dim=1)
    return F.kl_div(F.log_softmax(other, dim=1), target, reduction="none", log_target=True).sum(dim=1)
