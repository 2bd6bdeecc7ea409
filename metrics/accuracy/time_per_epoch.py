"""Time of an epoch of training, in seconds and relative to standard training."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bench.core.record import Score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


class TimePerEpoch(Metric):
    """Median seconds of an epoch, the first one and all evaluation left out, with the device synchronized.

    The ratio divides the seconds of each epoch by those of a standard epoch measured in the same process.
    """

    name = "time_per_epoch"
    titles = {
        "time_per_epoch": "Time per epoch",
        "time_per_epoch_ratio": "Time per epoch, relative to standard training",
    }
    unit: ClassVar[str] = "seconds"
    higher_is_better: ClassVar[bool | None] = False
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    batteries = {"quick": {}, "standard": {}, "full": {}, "indicators": {}}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Seconds of each epoch [E] and of a standard epoch beside it [E].

        Raises:
            NotMeasurable: for a network trained elsewhere, or for one epoch only.
        """
        if not evaluation.history:
            raise NotMeasurable("the network was not trained here")
        rows = evaluation.history[1:]
        if not rows:
            raise NotMeasurable("a single epoch, and the first does not count")
        return {
            "seconds": np.array([row["seconds"] for row in rows], dtype=np.float64),
            "standard_seconds": np.array([row["standard_seconds"] for row in rows], dtype=np.float64),
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, "time_per_epoch_ratio"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Both medians, each with the quartiles of the epochs as its interval."""
        ratio = arrays["seconds"] / arrays["standard_seconds"]
        quartiles = "interval: quartiles over epochs"
        return {
            name: Score(
                value=float(np.median(values)),
                low=float(np.quantile(values, 0.25)),
                high=float(np.quantile(values, 0.75)),
                n=len(values),
                unit=unit,
                higher_is_better=False,
                reason=quartiles,
            )
            for name, values, unit in (
                ("time_per_epoch", arrays["seconds"], "seconds"),
                ("time_per_epoch_ratio", ratio, "ratio"),
            )
        }
