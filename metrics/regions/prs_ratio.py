"""Number of decision regions that the training set populates, over its size."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bench.core.record import Score
from bench.geometry.regions import find_regions
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


class PRSRatio(Metric):
    """Distinct sign patterns of the training set over its size (P1 §2.2).

    |PRS| / N over the whole unaugmented training set, at the penultimate layer, in eval mode and float32. It is a
    count over the whole set, so it has no interval. Networks with a low ratio tend to be robust (P1 §3.2), but a
    ratio near 1/N can also come from dead units: read it together with `region_health`.
    """

    needs_head = True
    name = "prs_ratio"
    titles = {"prs_ratio": "PRS ratio"}
    higher_is_better: ClassVar[bool | None] = None
    batteries = {"quick": {}, "standard": {}, "full": {}, "geometry": {}, "indicators": {}}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """The region of each training image [N], numbered from 0.

        Raises:
            NotMeasurable: when the network has no feature layer, or there is no training image.
        """
        return {"region": find_regions(evaluation.regions("train").patterns).ids}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The number of regions over that of training images."""
        region = arrays["region"]
        return {self.name: self.score((int(region.max()) + 1) / len(region), n=len(region))}
