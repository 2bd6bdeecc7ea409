"""Live units, and entropy and label purity of decision regions."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from scipy.stats import entropy

from bench.core.record import Score
from bench.geometry.regions import find_regions, in_majority, live_units
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


class RegionHealth(Metric):
    """Whether a low PRS ratio comes from few regions that separate the classes, or merely from dead units.

    `region_health/live_units` is the share of penultimate units that take both signs. `/entropy` is −Σ p_r ln p_r
    over regions r that hold a share p_r of the training images: 0 for a single region, ln N where every image has
    its own. `/purity` is the share of images with the most frequent label of their region; it is also 1 where every
    image has its own. All are over the whole training set, so they have no intervals.
    """

    needs_head = True
    name = "region_health/live_units"
    titles = {
        "region_health/live_units": "Live units",
        "region_health/entropy": "Region entropy",
        "region_health/purity": "Region label purity",
    }
    higher_is_better: ClassVar[bool | None] = None
    batteries = {"quick": {}, "standard": {}, "full": {}, "geometry": {}, "indicators": {}}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether each unit is live [D]; region of each training image and whether it has the majority's label [N].

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
        """Names of the scores, the main one first."""
        return self.name, "region_health/entropy", "region_health/purity"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Share of live units, entropy in nats, purity."""
        live, region, majority = arrays["live"], arrays["region"], arrays["in_majority"]
        nats = float(entropy(np.bincount(region)))
        return {
            "region_health/live_units": self.score(float(live.mean()), n=len(live)),
            "region_health/entropy": Score(value=nats, n=len(region), unit="nats"),
            "region_health/purity": self.score(float(majority.mean()), n=len(majority)),
        }
