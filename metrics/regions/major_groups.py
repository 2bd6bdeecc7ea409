"""Robustness of training images in the major region of their class and of the others."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.data import Split
from bench.geometry.groups import draw, in_own_row
from bench.geometry.regions import major_regions
from metrics.evaluation import Evaluation
from metrics.regions.group_robustness import FULL_ATTACKS, GroupRobustness


@dataclass(frozen=True, kw_only=True)
class MajorGroups(GroupRobustness):
    """Robust accuracy of training images in major regions, minus that of the others (P1 §3.4, figure 8).

    `major` images lie in the region that most training images of their class share (MR), `extra` ones do not (ER);
    misclassified images are in both groups, as in the paper, and count as broken. The paper draws 10,000 of each.
    `major_groups/GROUP/ATTACK` is a group's robust accuracy at the threat's ε; `/target_logit` (the paper's
    confidence) and `/confidence` are the mean logit and softmax probability of the labels.

    Args:
        attacks, factors, images: as for `GroupRobustness`.
    """

    needs_head = True
    name = "major_groups"
    groups: ClassVar[tuple[str, str]] = ("major", "extra")
    batteries = {"full": {"images": 10_000, "attacks": FULL_ATTACKS}, "geometry": {}}
    charts_function = "metrics.regions.charts.major_groups:draw"

    def choose(self, evaluation: Evaluation) -> dict[str, tuple[Split, np.ndarray]]:
        """The training images in the major region of their class, and the others.

        Raises:
            NotMeasurable: when the network has no feature layer, or there is no training image.
        """
        train = evaluation.regions("train")
        rows, _ = major_regions(train.patterns, train.labels, evaluation.classifier.num_classes)
        major = in_own_row(train.patterns, train.labels, rows)
        return {
            group: (
                evaluation.dataset.train,
                draw(mask, self.images, evaluation.generator(f"{self.name} {group}")),
            )
            for group, mask in (("major", major), ("extra", ~major))
        }
