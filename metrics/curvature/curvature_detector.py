"""Base class of the metrics of the curvature detector (Fawzi et al., §V)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.attacks.deepfool import DeepFoolResult, deepfool
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.predictor import Predictor
from bench.core.progress import Task
from bench.core.record import Score, Value
from bench.geometry.curvature import Curvature, Estimator, Orientation, check_settings, mean_curvature
from bench.geometry.detection import (
    FEWEST_FOR_THRESHOLD,
    auc,
    auc_interval,
    bounds_threshold,
    tpr_at_5fpr,
    tpr_interval,
)
from metrics.base import Metric
from metrics.evaluation import Evaluation, NotMeasurable

#: The scores of a detector, in the order in which they are written.
NAMES = ("detection_auc", "detection_auc_calibrated", "detection/tpr_at_5fpr", "detection/recovery")


@dataclass(frozen=True)
class Perturbed:
    """Correctly classified test images and DeepFool's perturbations of them.

    Attributes:
        index: their positions among the test images that attacks run on [m].
        clean, labels: [m, C, H, W] and int64 [m].
        attack: DeepFool's result; it fooled the network on at least one image.
    """

    index: Tensor
    clean: Tensor
    labels: Tensor
    attack: DeepFoolResult


@dataclass(frozen=True, kw_only=True)
class CurvatureDetector(Metric):
    """The detector that flags images by the mean curvature ρ of the boundaries around them.

    Args:
        images: how many correctly classified images to perturb, at most.
        directions, estimator, orientation, h_scale: as for `mean_curvature`.
        clip: keep the perturbed images in the pixel box; without it DeepFool may leave it, as in the paper.

    Raises:
        UserError: for fewer than 1 image, or settings that `mean_curvature` refuses.
    """

    unit: ClassVar[str] = "AUC"

    images: int
    directions: int = 100
    estimator: Estimator = "second_difference"
    orientation: Orientation = "algorithm2"
    h_scale: float = 1.0
    clip: bool = True

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UserError(f"expected at least 1 image to perturb, got images={self.images}")
        check_settings(self.estimator, self.orientation, self.directions, self.h_scale)

    def settings(self) -> dict[str, Value]:
        """How curvature is measured."""
        return {
            "directions": self.directions,
            "estimator": self.estimator,
            "orientation": self.orientation,
            "h_scale": self.h_scale,
            **({} if self.clip else {"clip": False}),
        }

    @property
    def box(self) -> str:
        """Whether DeepFool's images stay in the pixel box, as `settings` say it."""
        return "clipped to the pixel box" if self.clip else "not clipped to the pixel box"

    def algorithm2(self, score: np.ndarray) -> np.ndarray:
        """Convert scores ρ from the detector's orientation to that of algorithm 2."""
        return score if self.orientation == "algorithm2" else -score

    def perturb(self, evaluation: Evaluation) -> Perturbed:
        """Perturb the first correctly classified test images with DeepFool.

        Raises:
            NotMeasurable: when no image is classified correctly, or DeepFool fools the network on none.
        """
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        right = predict(evaluation.images) == evaluation.labels
        index = torch.nonzero(right).flatten()[: self.images]
        if len(index) == 0:
            raise NotMeasurable("no test image is classified correctly, so there is none to perturb")
        clean = evaluation.images[index]
        attack = deepfool(evaluation.classifier, clean, clip=self.clip, batch_size=evaluation.batch_size)
        if not attack.found.any():
            raise NotMeasurable(f"DeepFool fooled the network on none of {len(index)} images")
        return Perturbed(index, clean, evaluation.labels[index], attack)

    def curvatures(self, evaluation: Evaluation, images: Tensor, task: Task) -> Curvature:
        """ρ and the recovered label of each image [n, C, H, W]."""
        return mean_curvature(
            evaluation.classifier,
            images,
            # The same generator in every call, so that all images share their random directions.
            evaluation.generator("detection_auc"),
            directions=self.directions,
            estimator=self.estimator,
            orientation=self.orientation,
            h_scale=self.h_scale,
            batch_size=evaluation.batch_size,
            task=task,
        )


def auc_score(clean: np.ndarray, perturbed: np.ndarray, reason: str) -> Score:
    """The AUC of pairs [n], with its interval."""
    ends = auc_interval(clean, perturbed, paired=True)
    return _score(auc(clean, perturbed), ends, len(clean), "AUC", reason)


def found_score(clean: np.ndarray, perturbed: np.ndarray, reason: str) -> Score:
    """The share of perturbed images that are flagged where 5 % of the clean ones are, over pairs [n].

    It has no value where the pairs are too few for such a threshold.
    """
    n = len(clean)
    if n < FEWEST_FOR_THRESHOLD:
        few = f"a threshold with 5 % false alarms needs {FEWEST_FOR_THRESHOLD} pairs, got {n}"
        return no_score("detection/tpr_at_5fpr", n, f"{few}; {reason}")
    if not bounds_threshold(n):
        reason = f"{reason}; {n} clean images do not bound the threshold from above"
    ends = tpr_interval(clean, perturbed)
    return _score(tpr_at_5fpr(clean, perturbed), ends, n, "fraction", reason)


def recovery_score(perturbed: np.ndarray, named: np.ndarray, *notes: str) -> Score:
    """The share of images that algorithm 2 flags at t = 0 and gives their own label: bool [n].

    Args:
        perturbed: scores [n], in the orientation of algorithm 2.
        named: bool [n], whether the label with the largest curvature is the image's own.
        notes: further parts of the reason.
    """
    n, recovered = len(perturbed), int(np.count_nonzero(named & (perturbed >= 0)))
    first = f"flagged at t = 0 and labeled correctly; without a threshold {named.mean():.1%}"
    return _score(recovered / n, proportion_interval(recovered, n), n, "fraction", "; ".join([first, *notes]))


def no_score(name: str, n: int, reason: str) -> Score:
    """The score called `name` without a value, for n pairs that are too few."""
    unit = "AUC" if "auc" in name else "fraction"
    return Score(value=None, n=n, unit=unit, higher_is_better=True, reason=reason)


def _score(value: float, ends: tuple[float, float], n: int, unit: str, reason: str) -> Score:
    low, high = ends
    return Score(value=value, low=low, high=high, n=n, unit=unit, higher_is_better=True, reason=reason)
