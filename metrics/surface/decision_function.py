"""Margins of test images in logits, without and under attack."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.attacks.grid import find_attacks
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.margins import decision_function
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


@dataclass(frozen=True, kw_only=True)
class DecisionFunction(Metric):
    """Mean of L(x) = Z_t − max Z_i over test images, clean and attacked, and the share where L > 0.

    L is positive where an image is classified correctly. It grows with the scale of the logits, so its sign can be
    compared between networks and its size cannot. The attacked image is the iterate that broke it, the last iterate
    where none did, and the clean image where that is misclassified already.

    Args:
        attack: a name of `bench.attacks.ATTACKS`.
        images: number of test images, the first ones.

    Raises:
        UserError: for an unknown attack, or fewer than 1 image.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equation 2.
    """

    name = "decision_function"
    unit: ClassVar[str] = "logits"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))
    batteries = {"full": {"images": 1000}, "geometry": {"images": 200}, "indicators": {"images": 200}}
    charts_function = "metrics.surface.charts.decision_function:draw"

    attack: str = "cw"
    images: int = 500

    def __post_init__(self) -> None:
        find_attacks([self.attack])
        if self.images < 1:
            raise UserError(f"expected at least 1 test image, got images={self.images}")

    def settings(self) -> dict[str, Value]:
        """Attack and number of images."""
        return {"attack": self.attack, "images": self.images}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """L of the clean and of the attacked images [n], with labels and positions in the test set [n].

        Raises:
            NotMeasurable: when there is no image.
        """
        images, labels = evaluation.first(self.images)
        (attack,) = find_attacks([self.attack])
        result = evaluation.attack(attack, images, labels, self.name)
        return {
            "clean": _margins(evaluation, images, labels),
            "attacked": _margins(evaluation, result.adversarial, labels),
            "label": labels.cpu().numpy(),
            "test_index": evaluation.test_index.cpu().numpy()[: self.images],
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, *(f"{self.name}/{part}" for part in ("positive", "attacked", "attacked_positive"))

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Means and shares above zero, clean and attacked."""
        scores = {}
        for kind, reason in (("clean", ""), ("attacked", f"under {self.attack}")):
            values = arrays[kind]
            mean, share = (
                (self.name, f"{self.name}/positive")
                if kind == "clean"
                else (f"{self.name}/attacked", f"{self.name}/attacked_positive")
            )
            scores[mean] = mean_score(values, unit=self.unit, reason=reason)
            above = int(np.count_nonzero(values > 0))
            low, high = proportion_interval(above, len(values))
            scores[share] = Score(
                value=above / len(values),
                low=low,
                high=high,
                n=len(values),
                unit="fraction",
                higher_is_better=True,
                reason=reason,
            )
        return scores


@torch.no_grad()
def _margins(evaluation: Evaluation, images: Tensor, labels: Tensor) -> np.ndarray:
    size = evaluation.batch_size
    parts = [
        decision_function(evaluation.classifier(some), own)
        for some, own in zip(images.split(size), labels.split(size), strict=True)
    ]
    return torch.cat(parts).float().cpu().numpy()
