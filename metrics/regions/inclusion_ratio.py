"""Share of the test images that lie in decision regions populated by training images."""

from collections.abc import Mapping

import numpy as np

from bench.core.record import Score
from bench.geometry.regions import membership, within_class
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


class InclusionRatio(Metric):
    """Share of the test set whose sign pattern occurs in the training set (P1 §3.3), with Wilson intervals.

    `inclusion_ratio` counts regions with any training image, `/true_label` those with one of the test image's
    class, and `/pred_label` those with one of its predicted class. Networks with a high ratio tend to be robust
    (P1).
    """

    needs_head = True
    name = "inclusion_ratio"
    titles = {
        "inclusion_ratio": "Inclusion ratio",
        "inclusion_ratio/true_label": "Inclusion ratio, regions of the true class",
        "inclusion_ratio/pred_label": "Inclusion ratio, regions of the predicted class",
    }
    batteries = {"quick": {}, "standard": {}, "full": {}, "geometry": {}, "indicators": {}}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether the region of each test image [N] is populated: at all, by its class, by its predicted class.

        Raises:
            NotMeasurable: when the network has no feature layer, or either set is empty.
        """
        train, test = evaluation.regions("train"), evaluation.regions("test")
        of_class = within_class(train.patterns, train.labels)
        return {
            "included": membership(test.patterns, train.patterns),
            "included_true_label": membership(within_class(test.patterns, test.labels), of_class),
            "included_pred_label": membership(within_class(test.patterns, test.predicted), of_class),
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, *(f"{self.name}/{part}" for part in ("true_label", "pred_label"))

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The three shares."""
        return {
            "inclusion_ratio": self.proportion(arrays["included"]),
            "inclusion_ratio/true_label": self.proportion(arrays["included_true_label"]),
            "inclusion_ratio/pred_label": self.proportion(arrays["included_pred_label"]),
        }
