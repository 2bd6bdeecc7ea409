"""Calls of attacks as plain values, so that other processes can make the same call."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.attacks.autoattack import AutoAttackResult, autoattack
from bench.attacks.pgd import Attack, AttackResult
from bench.core.classifier import AnyClassifier
from bench.core.progress import Progress
from bench.core.threat import Threat


@dataclass(frozen=True)
class AttackCall:
    """A call of one of our attacks.

    Attributes:
        images, labels: float32 [n, C, H, W] in [0, 1] and int64 [n].
        seed: of the generator of the random starts.
        batch_size: images per pass.
    """

    attack: Attack
    images: Tensor
    labels: Tensor
    threat: Threat
    seed: int
    batch_size: int

    def __call__(self, classifier: AnyClassifier, progress: Progress) -> AttackResult:
        """Make it."""
        generator = torch.Generator().manual_seed(self.seed)
        return self.attack(
            classifier,
            self.images,
            self.labels,
            self.threat,
            generator,
            batch_size=self.batch_size,
            progress=progress,
        )

    def values(self) -> dict[str, Any]:
        """Tensors and plain values, from which `call_of` makes an equal call."""
        return {**vars(self), "attack": vars(self.attack), "threat": vars(self.threat)}


@dataclass(frozen=True)
class AutoAttackCall:
    """A call of AutoAttack.

    Attributes:
        images, labels: float32 [n, C, H, W] in [0, 1] and int64 [n].
        settings: seed, version, batch size and kind of passes.
    """

    images: Tensor
    labels: Tensor
    threat: Threat
    settings: Mapping[str, Any]

    def __call__(
        self, classifier: AnyClassifier, progress: Progress, state: Path | None = None
    ) -> AutoAttackResult:
        """Make it; the state of an earlier one is read and written where a path is given."""
        return autoattack(
            classifier,
            self.images,
            self.labels,
            self.threat,
            progress=progress,
            state_path=state,
            **self.settings,
        )

    def values(self) -> dict[str, Any]:
        """Tensors and plain values, from which `call_of` makes an equal call."""
        return {**vars(self), "threat": vars(self.threat)}


Call = AttackCall | AutoAttackCall


def call_of(values: Mapping[str, Any]) -> Call:
    """The call that these values were taken of."""
    arguments = {**values, "threat": Threat(**values["threat"])}
    if "attack" in values:
        return AttackCall(**{**arguments, "attack": Attack(**values["attack"])})
    return AutoAttackCall(**arguments)
