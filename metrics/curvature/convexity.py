"""Convexity of classification regions (Fawzi et al., §III, figure 3)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.predictor import Predictor
from bench.core.record import Curve, Point, Score, Value
from bench.geometry.convexity import mixtures_stay
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


@dataclass(frozen=True, kw_only=True)
class Convexity(Metric):
    """Share of random mixtures of k test images of one region that stay in it, k = 2 … 10.

    P[k̂(Σ w_j x_j) = i], x_j distinct images with k̂(x_j) = i, w ~ Dirichlet(1, …, 1). `convexity` is that of two
    images, `convexity/k5` that of five. A convex region has 1 for every k.

    Args:
        trials: number of mixtures for each k.
        largest: the largest k.

    Raises:
        UserError: for trials below 1, or a largest k below 2.

    Source: Fawzi et al., Classification regions of deep neural networks, §III, figure 3.
    """

    name = "convexity"
    batteries = {"full": {"trials": 5000}, "geometry": {"trials": 500}}
    charts_function = "metrics.curvature.charts.convexity:draw"

    trials: int = 500
    largest: int = 10

    def __post_init__(self) -> None:
        if self.trials < 1 or self.largest < 2:
            raise UserError(
                f"expected trials from 1 and largest from 2, got {self.trials} and {self.largest}"
            )

    def settings(self) -> dict[str, Value]:
        """Number of mixtures, the largest number of images in one, and the distribution of weights."""
        return {"trials": self.trials, "largest": self.largest, "weights": "Dirichlet(1)"}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each k, whether each mixture stayed in the region [trials]; empty where no region has k images."""
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        labels = predict(evaluation.images)
        generator = evaluation.generator(self.name)
        arrays = {}
        for k in evaluation.progress.track(self._sizes, "convexity", len(self._sizes)):
            stays = mixtures_stay(predict, evaluation.images, labels, k, self.trials, generator)
            arrays[f"k{k}"] = stays.numpy()
        return arrays

    @property
    def _sizes(self) -> range:
        return range(2, self.largest + 1)

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, *(f"{self.name}/k{k}" for k in self._sizes if k > 2)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The share that stayed, for each k."""
        return {
            self.name if k == 2 else f"{self.name}/k{k}": self.proportion(
                stays, "" if len(stays) else f"no region holds {k} of the test images"
            )
            for k, stays in _by_size(arrays).items()
        }

    def curves(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Curve]:
        """The share that stayed, by k."""
        points = []
        for k, stays in _by_size(arrays).items():
            if len(stays):
                low, high = proportion_interval(int(stays.sum()), len(stays))
                points.append(Point(x=k, value=float(stays.mean()), low=low, high=high))
        if not points:
            return {}
        return {self.name: Curve(x_label="images mixed", y_label="mixtures in the region", points=points)}


def _by_size(arrays: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    return dict(sorted((int(key.removeprefix("k")), stays) for key, stays in arrays.items()))
