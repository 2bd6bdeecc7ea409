"""Robust accuracy by ε and attack, on training and on test images."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.data import Split
from bench.geometry.groups import draw
from metrics.evaluation import Evaluation, NotMeasurable
from metrics.regions.group_robustness import FULL_ATTACKS, GroupRobustness


@dataclass(frozen=True, kw_only=True)
class AttackCurves(GroupRobustness):
    """Robust accuracy on training images minus that on test images, by attack and ε (P1 §3.2, figure 3).

    The score is the generalization gap of robustness at the threat's ε. `attack_curves/GROUP/ATTACK` is the robust
    accuracy of `train` or `test` images there; misclassified images count as broken.

    Args:
        attacks, factors, images: as for `GroupRobustness`.
    """

    name = "attack_curves"
    groups: ClassVar[tuple[str, str]] = ("train", "test")
    batteries = {"full": {"images": 1000, "attacks": FULL_ATTACKS}, "geometry": {}}
    charts_function = "metrics.regions.charts.attack_curves:draw"

    factors: tuple[str, ...] = ("1/4", "1/2", "3/2", "2")

    def choose(self, evaluation: Evaluation) -> dict[str, tuple[Split, np.ndarray]]:
        """Images of both splits, drawn at random.

        Raises:
            NotMeasurable: when both are empty.
        """
        splits = {"train": evaluation.dataset.train, "test": evaluation.dataset.test}
        chosen = {
            group: (
                split,
                draw(
                    np.ones(len(split), dtype=bool), self.images, evaluation.generator(f"{self.name} {group}")
                ),
            )
            for group, split in splits.items()
        }
        if not any(len(index) for _, index in chosen.values()):
            raise NotMeasurable("training and test set are empty")
        return chosen
