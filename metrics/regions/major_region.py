"""Distribution of the training images of each class over decision regions."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bench.core.record import Score
from bench.geometry.regions import count_regions, find_regions, major_regions, within_class
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


class MajorRegion(Metric):
    """Share of training images that lie in the major region of their class (P1 §3.4, figures 8 and 10).

    The major region of a class is the one that holds most of its training images; its other regions are extra.
    `/regions` is the number of populated regions, `/major_regions` of those that are major for a class (two classes
    can share one), `/extra_regions` of the rest; `/smallest_class` and `/largest_class` are the lowest and the
    highest share of a class. All are over the whole training set, so they have no intervals.
    """

    needs_head = True
    name = "major_region/share"
    higher_is_better: ClassVar[bool | None] = None
    batteries = {"full": {}, "geometry": {}, "indicators": {}}
    charts_function = "metrics.regions.charts.major_region:draw"

    def measure(self, evaluation: Evaluation) -> Arrays:
        """By class [C], its images and those in its major region; by class and region [R], class and images.

        Raises:
            NotMeasurable: when the network has no feature layer, or there is no training image.
        """
        train = evaluation.regions("train")
        classes = evaluation.classifier.num_classes
        rows, counts = major_regions(train.patterns, train.labels, classes)
        spread = find_regions(within_class(train.patterns, train.labels))
        return {
            "class_size": np.bincount(train.labels, minlength=classes),
            "major_size": counts,
            "regions": np.array([count_regions(train.patterns)]),
            "major_regions": np.array([count_regions(rows[counts > 0])]),
            "region_class": train.labels[spread.examples],
            "region_size": spread.sizes,
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        parts = ("smallest_class", "largest_class", "regions", "major_regions", "extra_regions")
        return self.name, *(f"major_region/{part}" for part in parts)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Shares and counts."""
        sizes, major = arrays["class_size"], arrays["major_size"]
        present = sizes > 0
        shares = major[present] / sizes[present]
        n, regions, majors = (
            int(sizes.sum()),
            int(arrays["regions"].item()),
            int(arrays["major_regions"].item()),
        )
        missing = int(np.count_nonzero(~present))
        reason = f"{missing} classes have no training image" if missing else ""
        return {
            self.name: self.score(float(major.sum() / n), n=n, reason=reason),
            "major_region/smallest_class": self.score(float(shares.min()), n=n),
            "major_region/largest_class": self.score(float(shares.max()), n=n),
            "major_region/regions": Score(value=regions, n=n, unit="count"),
            "major_region/major_regions": Score(value=majors, n=n, unit="count"),
            "major_region/extra_regions": Score(value=regions - majors, n=n, unit="count"),
        }
