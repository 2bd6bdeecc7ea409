"""Cosine similarity between the weights of the final layer."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bench.core.classifier import NO_HEAD
from bench.core.record import Score
from bench.geometry.cosines import cosine_matrix, mean_off_diagonal
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


class FinalLayerCosine(Metric):
    """Mean cosine similarity between the weight rows of different classes, bias left out (P1 §3.2, figure 6).

    Networks with a low PRS ratio tend to have parallel rows (P1, table 1). It is a property of the weights and not
    of a sample, so it has no interval; n is the number of pairs.
    """

    needs_head = True
    name = "final_layer_cosine"
    unit: ClassVar[str] = "cosine"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"full": {}, "geometry": {}, "indicators": {}}
    charts_function = "metrics.regions.charts.final_layer_cosine:draw"

    def measure(self, evaluation: Evaluation) -> Arrays:
        """The matrix of cosines [K, K].

        Raises:
            NotMeasurable: when the network has no final linear layer, or a single class.
        """
        head = evaluation.classifier.head
        if head is None:
            raise NotMeasurable(NO_HEAD)
        if head.out_features < 2:
            raise NotMeasurable("a network with one output has no two rows to compare")
        return {"cosine": cosine_matrix(head.weight)}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The mean of the entries off the diagonal."""
        matrix = arrays["cosine"]
        classes = len(matrix)
        empty = int(np.count_nonzero(np.diag(matrix) == 0))
        reason = f"{empty} rows are zero and count as orthogonal" if empty else ""
        return {
            self.name: self.score(mean_off_diagonal(matrix), n=classes * (classes - 1) // 2, reason=reason)
        }
