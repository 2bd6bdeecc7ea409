"""Whether training images in the major region of their class are the robust ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.charts import Chart
from bench.core.record import Record
from bench.data import Split
from bench.geometry.groups import draw, in_own_row
from bench.geometry.regions import major_regions
from metrics.base import Evaluation
from metrics.regions.two_groups import FULL_ATTACKS, TwoGroups


@dataclass(frozen=True, kw_only=True)
class MajorGroups(TwoGroups):
    """Robust accuracy of training images in major regions, minus that of the others (P1 §3.4, figure 8).

    `major` images lie in the region that most training images of their class share (MR), `extra` ones do not (ER);
    misclassified images belong to either group, as in the paper, and count as broken. The paper draws 10,000 of
    each. `major_groups/GROUP/ATTACK` is a group's robust accuracy at the threat's ε, `/target_logit` (the paper's
    confidence) and `/confidence` what its images' labels get.

    Args:
        attacks, factors, images: as for `TwoGroups`.
    """

    name = "major_groups"
    groups: ClassVar[tuple[str, str]] = ("major", "extra")
    batteries = {"full": {"images": 10_000, "attacks": FULL_ATTACKS}, "geometry": {}}

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

    def charts(self, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
        """Robust accuracy by ε and attack, and confidence, of both groups."""
        if not self.any_image(arrays):
            return []
        return [
            self.by_eps(
                arrays,
                record,
                name="regions-major-groups",
                title="Robust accuracy in major and in extra regions",
                source="P1, figure 8 (b)",
                caption="Training images in the region that most images of their class share (major), and the "
                "others (extra); bands are 95 % Wilson intervals. The paper finds the major ones more robust.",
            ),
            Chart(
                name="regions-major-confidence",
                title="Confidence in major and in extra regions",
                source="P1, figure 8 (c)",
                caption="What the same images' labels get without attack; the paper's confidence is the logit.",
                panels=self.confidence_panels(arrays),
            ),
        ]
