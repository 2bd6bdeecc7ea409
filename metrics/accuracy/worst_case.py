"""Accuracy against the strongest attack on each image."""

from collections.abc import Mapping

import numpy as np

from bench.core.names import ROBUST_ACCURACY
from bench.core.record import Score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


class WorstCase(Metric):
    """Share of the attacked test images that survive every attack of the battery at the threat's ε."""

    name = "robust_accuracy/worst_case"
    titles = {"robust_accuracy/worst_case": "Worst case"}
    batteries = {"quick": {}, "standard": {}, "full": {}}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether each image withstands every attack [n].

        Raises:
            NotMeasurable: when no attack ran.
        """
        attacks = [
            arrays["right"]
            for name, arrays in evaluation.measured.items()
            if name.startswith(ROBUST_ACCURACY)
        ]
        if not attacks:
            raise NotMeasurable("no attack ran")
        return {"right": np.logical_and.reduce(attacks)}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Robust accuracy with its interval."""
        return {self.name: self.proportion(arrays["right"])}
