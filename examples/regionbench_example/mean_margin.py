"""A metric: how far the labelled logit is above the others."""

from collections.abc import Mapping

import numpy as np

from bench.core.margins import decision_function
from bench.core.record import Score
from metrics import Evaluation, Metric


class MeanMargin(Metric):
    """Mean of Z_y − max_{k≠y} Z_k over the evaluated test images."""

    name = "mean_margin"
    unit = "logits"
    bounds = (-np.inf, np.inf)

    def measure(self, evaluation: Evaluation) -> dict[str, np.ndarray]:
        """The margin of every image, [n]."""
        logits = evaluation.classifier(evaluation.images)
        return {"margin": decision_function(logits, evaluation.labels).detach().cpu().numpy()}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Their mean."""
        margin = arrays["margin"]
        return {self.name: self.score(float(margin.mean()), n=len(margin))}
