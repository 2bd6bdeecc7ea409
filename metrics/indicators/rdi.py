"""The robustness difference index: how far classes lie apart, against how far each spreads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.core.record import Score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable
from metrics.indicators.heads import behind_activation


@dataclass(frozen=True, kw_only=True)
class RDI(Metric):
    """(InterD − IntraD) / max(InterD, IntraD) of the penultimate features of test images, from −1 to 1.

    Images are grouped by their predicted class, so that the decision boundary separates the groups, and classes
    that nothing is predicted as are left out. IntraD is the mean over classes of the mean distance to the
    class's center, InterD the mean distance between the centers of two classes, both Euclidean. `/intra` and
    `/inter` are the two distances. Over the whole test set, without interval.

    The paper gives the formula of the index and calls the vectors statistical features of the model; the layer,
    the grouping and the distances here are our reading of it.

    Source: Song et al. 2025, RDI: An adversarial robustness evaluation metric …, arXiv 2504.18556.
    """

    name = "rdi"
    titles = {"rdi": "RDI"}
    unit: ClassVar[str] = "index"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"indicators": {}}
    needs_head = True

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Number of images, center [D] and mean distance to it, of each predicted class.

        Raises:
            NotMeasurable: when the network has no feature layer, or there is no test image.
        """
        features, predicted = [], []
        for some, logits, _ in evaluation.features(evaluation.dataset.test, self.name):
            features.append(behind_activation(evaluation.classifier, some))
            predicted.append(logits.argmax(dim=1))
        if not features:
            raise NotMeasurable("there is no test image")
        return class_spread(torch.cat(features).double(), torch.cat(predicted))

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/intra", f"{self.name}/inter"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The index and its two distances."""
        n = int(arrays["count"].sum())
        centers, classes = arrays["center"], len(arrays["center"])
        if classes < 2:
            one = self.score(None, n=n, reason="fewer than two classes are predicted")
            return dict.fromkeys(self.names(), one)
        pairs = np.linalg.norm(centers[:, None] - centers[None], axis=2)[np.triu_indices(classes, 1)]
        intra, inter = float(arrays["spread"].mean()), float(pairs.mean())
        largest = max(intra, inter)
        index = (
            self.score((inter - intra) / largest, n=n)
            if largest
            else self.score(None, n=n, reason="no spread")
        )
        distance = {
            f"{self.name}/{part}": Score(value=value, n=n, unit="features")
            for part, value in (("intra", intra), ("inter", inter))
        }
        return {self.name: index, **distance}


def class_spread(features: Tensor, classes: Tensor) -> Arrays:
    """Center of the features [N, D] of each class that occurs, and the mean distance to it."""
    found = classes.unique()
    groups = [features[classes == one] for one in found]
    centers = torch.stack([group.mean(dim=0) for group in groups])
    spread = torch.stack(
        [(group - center).norm(dim=1).mean() for group, center in zip(groups, centers, strict=True)]
    )
    return {
        "count": np.array([len(group) for group in groups]),
        "center": centers.cpu().numpy(),
        "spread": spread.cpu().numpy(),
    }
