"""Accuracy against the strongest attack on each image."""

from collections.abc import Mapping

import numpy as np

from bench.core.names import ROBUST_ACCURACY, SUSPICIOUS
from bench.core.record import Score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


class WorstCase(Metric):
    """Share of the attacked test images that survive every attack of the battery at the threat's ε.

    Where a raised alarm was answered, they must survive the extra checks as well.
    """

    name = "robust_accuracy/worst_case"
    titles = {"robust_accuracy/worst_case": "Worst case"}
    batteries = {"quick": {}, "standard": {}, "full": {}, "indicators": {}}

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
        """Robust accuracy with its interval; the reason is what extra checks broke beside the battery."""
        return {self.name: self.proportion(arrays["right"], _found(arrays))}


def with_checks(worst: Mapping[str, np.ndarray], checks: Mapping[str, Mapping[str, np.ndarray]]) -> Arrays:
    """The arrays of the worst case with what extra checks broke within the threat.

    Args:
        worst: `right` bool [n], which images survive the battery.
        checks: by name, in the order they ran: `right` and, where known, `tried`, bool [m ≤ n] of the first images.

    Returns:
        `right`, which images survive the checks too; `battery`, which survive the battery alone; `broken_by`, the
        check that broke an image or "": each [n]. Without an image that a check broke, `right` alone.
    """
    battery = worst.get("battery", worst["right"])
    right, broken_by = battery.copy(), np.full(len(battery), "", dtype="U64")
    for name, arrays in checks.items():
        if not name.startswith(SUSPICIOUS) or "within_threat" not in arrays:
            continue
        first = slice(len(arrays["right"]))
        broken = arrays.get("tried", battery[first]) & ~arrays["right"] & right[first]
        right[first] &= ~broken
        broken_by[first][broken] = name.removeprefix(SUSPICIOUS)
    if (right == battery).all():
        return {"right": battery}
    return {"right": right, "battery": battery, "broken_by": broken_by}


def _found(arrays: Mapping[str, np.ndarray]) -> str:
    if "battery" not in arrays:
        return ""
    names, counts = np.unique(arrays["broken_by"][arrays["broken_by"] != ""], return_counts=True)
    found = ", ".join(f"{name} broke {count}" for name, count in zip(names, counts, strict=True))
    return f"{arrays['battery'].mean():.1%} without the extra checks: {found}"
