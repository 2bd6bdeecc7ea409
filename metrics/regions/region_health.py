"""Whether few populated regions mean order, or merely dead units."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from scipy.stats import entropy

from bench.core.record import Score
from bench.geometry.regions import find_regions, in_majority, live_units
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


class RegionHealth(Metric):
    """Three numbers beside the PRS ratio, over the whole training set and so without intervals.

    `region_health/live_units` is the share of penultimate units that take both signs. `/entropy` is
    −Σ p_r ln p_r over regions that hold a share p_r of the images: 0 for one region, ln N where every image
    is alone. `/purity` is the share of images that carry the most frequent label of their region; it is 1
    as well where every image is alone.
    """

    name = "region_health/live_units"
    titles = {
        "region_health/live_units": "Live units",
        "region_health/entropy": "Region entropy",
        "region_health/purity": "Region label purity",
    }
    higher_is_better: ClassVar[bool | None] = None
    batteries = {"quick": {}, "standard": {}, "full": {}, "geometry": {}}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Per unit [D], is it live; per training image [N], its region, and has it the majority's label.

        Raises:
            NotMeasurable: when the network has no feature layer, or there is no training image.
        """
        train = evaluation.regions("train")
        region = find_regions(train.patterns).ids
        return {
            "live": live_units(train.patterns, evaluation.classifier.num_features),
            "region": region,
            "in_majority": in_majority(region, train.labels),
        }

    def names(self) -> tuple[str, ...]:
        """Every score it writes, the main one first."""
        return self.name, "region_health/entropy", "region_health/purity"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Live-unit share, entropy in nats, purity."""
        live, region, majority = arrays["live"], arrays["region"], arrays["in_majority"]
        nats = float(entropy(np.bincount(region)))
        return {
            "region_health/live_units": self.score(float(live.mean()), n=len(live)),
            "region_health/entropy": Score(value=nats, n=len(region), unit="nats"),
            "region_health/purity": self.score(float(majority.mean()), n=len(majority)),
        }
