"""The sum of several defenses' losses."""

import dataclasses
from abc import ABC
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor

from bench.core.classifier import Classifier
from bench.core.errors import UserError
from bench.core.randomness import derive_seed
from defenses.base import Attacked, Defense, Objective, Training
from defenses.composition import Composition


@dataclass(frozen=True, kw_only=True)
class Sum(Composition, ABC):
    """Minimise several losses at once.

    Idea: parts that ask for different things may add up; table 2 of the decision-surface paper does so with
    `jacobian+at`.
    Formula: Σ_d L_d, each defense with its own weights, stages and random numbers.
    Defaults: the parts'.
    Cost: the parts' forward units, added up.
    Known weakness: as the parts'. A stage of one part, such as the frozen head of `prs`, holds for all.
    """

    family: ClassVar[str] = "composition"

    def forward_units(self) -> float:
        """Every part takes its own passes."""
        return sum(part.forward_units() for part in self.parts)

    def objective(self, training: Training) -> Objective:
        """All losses, added up."""
        return Total(training, self)


class Total(Attacked):
    """Σ_d L_d."""

    def __init__(self, training: Training, defense: Sum) -> None:
        super().__init__(training)
        # A seed of its own for each part: two attacks from one start would see half as much of the ball.
        self.parts: dict[str, Objective] = {
            part.name: part.objective(
                dataclasses.replace(training, seed=derive_seed(training.seed, "part", part.name))
            )
            for part in defense.parts
        }

    def epoch(self, number: int) -> None:
        """Begin the epoch in every part."""
        for part in self.parts.values():
            part.begin_epoch(number)

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> list[Any]:
        """What each part's attack found, None for parts without one."""
        return [
            part.attack(classifier, images, labels) if isinstance(part, Attacked) else None
            for part in self.parts.values()
        ]

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: list[Any], labels: Tensor) -> Tensor:
        """The sum of the parts' losses for images [B, C, H, W] and labels [B]."""
        losses = [
            part.loss_on(classifier, images, found, labels)
            if isinstance(part, Attacked)
            else part.loss(classifier, images, labels)
            for part, found in zip(self.parts.values(), attacked, strict=True)
        ]
        return torch.stack([loss.float() for loss in losses]).sum()

    def settled(self) -> bool:
        """When every part is."""
        return all(part.settled() for part in self.parts.values())

    def report(self) -> dict[str, float | int | str | None]:
        """Every part's report, each key behind the part's name and a dot."""
        return {
            f"{name}.{key}": value
            for name, part in self.parts.items()
            for key, value in part.report().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Every part's state, by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give each part its state back."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])


def sum_of(kinds: tuple[type[Defense], ...]) -> type[Sum]:
    """The class of the sum of two or more defenses, the same class for every order.

    The name lists penalties first and adversarial training last, as the papers do, and is otherwise alphabetical.

    Raises:
        UserError: when a defense occurs twice.
    """
    ordered = sorted(kinds, key=lambda kind: (kind.family == "adversarial training", kind.name))
    for first, second in pairwise(ordered):
        if first.name == second.name:
            raise UserError(
                f"{first.name}+{second.name} adds a defense to itself, and {first.name}.… would name two "
                f"hyper-parameters; raise its weight instead"
            )
    return _sum_of(tuple(ordered))


@cache
def _sum_of(ordered: tuple[type[Defense], ...]) -> type[Sum]:
    names = [kind.name for kind in ordered]

    @dataclass(frozen=True, kw_only=True)
    class SumOf(Sum):
        __doc__ = f"The sum of the losses of {' and '.join(names)}."

        name: ClassVar[str] = "+".join(names)
        kinds: ClassVar[tuple[type[Defense], ...]] = ordered
        attacks: ClassVar[bool] = any(kind.attacks for kind in ordered)

    return SumOf
