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
    """Minimize several losses at once.

    Idea: the gains of losses with different aims may add up, as for `jacobian+at` in table 2 of the
    decision-surface paper.
    Formula: Σ_d L_d, each defense with its own weights, stages and random numbers.
    Defaults: those of the components.
    Cost: the sum of the components' forward units.
    Known weakness: those of the components. A stage of one, such as the frozen head of `prs`, affects all.
    """

    family: ClassVar[str] = "composition"

    def forward_units(self) -> float:
        """The sum over the components."""
        return sum(component.forward_units() for component in self.components)

    def objective(self, training: Training) -> Objective:
        """The sum of all losses."""
        return Total(training, self)


class Total(Attacked):
    """Σ_d L_d."""

    def __init__(self, training: Training, defense: Sum) -> None:
        super().__init__(training)
        # Each component has a seed of its own, so that two attacks do not start at the same points.
        self.components: dict[str, Objective] = {
            component.name: component.objective(
                dataclasses.replace(training, seed=derive_seed(training.seed, "part", component.name))
            )
            for component in defense.components
        }
        self.replays = max(component.replays for component in self.components.values())

    def epoch(self, number: int) -> None:
        """Begin the epoch in every component."""
        for component in self.components.values():
            component.begin_epoch(number)

    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> list[Any]:
        """The result of each component's attack; None for a component without one."""
        return [
            component.attack(classifier, images, labels) if isinstance(component, Attacked) else None
            for component in self.components.values()
        ]

    def loss_on(self, classifier: Classifier, images: Tensor, attacked: list[Any], labels: Tensor) -> Tensor:
        """The sum of the components' losses for images [B, C, H, W] and labels [B]."""
        losses = [
            component.loss_on(classifier, images, found, labels)
            if isinstance(component, Attacked)
            else component.loss(classifier, images, labels)
            for component, found in zip(self.components.values(), attacked, strict=True)
        ]
        return torch.stack([loss.float() for loss in losses]).sum()

    def after_backward(self) -> None:
        """Tell every component."""
        for component in self.components.values():
            component.after_backward()

    def settled(self) -> bool:
        """Whether every component is settled."""
        return all(component.settled() for component in self.components.values())

    def report(self) -> dict[str, float | int | str | None]:
        """Every component's report, each key behind the component's name and a dot."""
        return {
            f"{name}.{key}": value
            for name, component in self.components.items()
            for key, value in component.report().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Every component's state, by name."""
        return {name: component.state_dict() for name, component in self.components.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore every component's state."""
        for name, component in self.components.items():
            component.load_state_dict(state[name])


def sum_of(kinds: tuple[type[Defense], ...]) -> type[Sum]:
    """Make the class of the sum of two or more defenses, which does not depend on their order.

    Its name lists penalties first and adversarial training last, as the papers do, and is otherwise alphabetical.

    Raises:
        UserError: when a defense occurs twice.
    """
    ordered = sorted(kinds, key=lambda kind: (kind.family == "adversarial training", kind.name))
    for first, second in pairwise(ordered):
        if first.name == second.name:
            raise UserError(
                f"{first.name}+{second.name} adds a defense to itself, so {first.name}.… would name two "
                f"hyper-parameters; increase its weight instead"
            )
    return _sum_of(tuple(ordered))


@cache
def _sum_of(ordered: tuple[type[Defense], ...]) -> type[Sum]:
    names = [kind.name for kind in ordered]

    @dataclass(frozen=True, kw_only=True)
    class SumOf(Sum):
        __doc__ = f"The sum of the losses of {' and '.join(names)}."

        name: ClassVar[str] = "+".join(names)
        component_types: ClassVar[tuple[type[Defense], ...]] = ordered
        attacks: ClassVar[bool] = any(kind.attacks for kind in ordered)

    return SumOf
