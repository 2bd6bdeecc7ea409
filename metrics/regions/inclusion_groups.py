"""Robustness of test images in populated regions and of the others."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.data import Split
from bench.geometry.groups import draw
from bench.geometry.regions import membership
from metrics.evaluation import Evaluation
from metrics.regions.group_robustness import FULL_ATTACKS, GroupRobustness


@dataclass(frozen=True, kw_only=True)
class InclusionGroups(GroupRobustness):
    """Robust accuracy of test images in populated regions, minus that of the others (P1 §3.3, figure 7).

    Both groups are correctly classified test images: `included` ones lie in a region that holds a training image,
    `excluded` ones do not. The paper takes 1,000 of each. `inclusion_groups/GROUP/ATTACK` is a group's robust
    accuracy at the threat's ε; `/target_logit` and `/confidence` are the mean logit and softmax probability of the
    labels.

    Args:
        attacks, factors, images: as for `GroupRobustness`.
    """

    needs_head = True
    name = "inclusion_groups"
    groups: ClassVar[tuple[str, str]] = ("included", "excluded")
    batteries = {"full": {"images": 1000, "attacks": FULL_ATTACKS}, "geometry": {}}
    charts_function = "metrics.regions.charts.inclusion_groups:draw"

    def choose(self, evaluation: Evaluation) -> dict[str, tuple[Split, np.ndarray]]:
        """The correctly classified test images in populated regions, and the others.

        Raises:
            NotMeasurable: when the network has no feature layer, or either set is empty.
        """
        train, test = evaluation.regions("train"), evaluation.regions("test")
        right = test.predicted == test.labels
        included = membership(test.patterns, train.patterns)
        masks = {"included": right & included, "excluded": right & ~included}
        return {
            group: (
                evaluation.dataset.test,
                draw(mask, self.images, evaluation.generator(f"{self.name} {group}")),
            )
            for group, mask in masks.items()
        }
