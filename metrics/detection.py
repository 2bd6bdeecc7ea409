"""Whether boundary curvature gives adversarial images away (classification regions, §V)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from scipy.stats import bootstrap, mannwhitneyu
from torch import Tensor

from bench.core.attacks.deepfool import deepfool
from bench.core.curvature import Curvature, Estimator, Orientation, mean_curvature
from bench.core.errors import UserError
from bench.core.progress import Task
from bench.core.record import Score, Value
from bench.core.statistics import wilson
from metrics.base import Arrays, Evaluation, Metric, NotMeasurable

Alpha = Literal[1, 2, 5]

#: Fewer pairs say nothing about a detector.
_FEWEST = 10
#: Images whose curvature is measured between two movements of the bar; their directions still fill a batch.
_AT_ONCE = 20


@dataclass(frozen=True, kw_only=True)
class Detection(Metric):
    """How well the mean curvature ρ tells DeepFool's images from the clean ones they came from.

    This is against an attacker who does not know the detector; one who does can lower ρ as well.
    `detection_auc` takes the paper's side, larger ρ means perturbed; `detection_auc_calibrated` takes the side
    that is right on half of the images and is measured on the other half; `detection/tpr_at_5fpr` is the share
    of perturbed images found when 5 % of the clean ones are flagged; `detection/recovery` is the share of them
    that algorithm 2 flags at t = 0 and labels correctly. Intervals: bootstrap over images, Wilson for recovery.

    Args:
        images: how many correctly classified images to perturb, at most.
        alpha: what DeepFool's perturbation is multiplied with (fig. 8, right).
        directions, estimator, orientation, h_scale: as for `mean_curvature`.

    Raises:
        UserError: for another alpha, or fewer than 1 image.
    """

    name = "detection_auc"
    unit: ClassVar[str] = "AUC"

    images: int = 200
    alpha: Alpha = 1
    directions: int = 100
    estimator: Estimator = "second_difference"
    orientation: Orientation = "algorithm2"
    h_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha not in get_args(Alpha):
            raise UserError(f"expected alpha 1, 2 or 5, as in the paper, got {self.alpha!r}")
        if self.images < 1:
            raise UserError(f"expected at least 1 image to perturb, got images={self.images}")

    def settings(self) -> dict[str, Value]:
        """The attack and how curvature is measured."""
        return {
            "attack": "deepfool, clipped to the pixel box",
            "images": self.images,
            "alpha": self.alpha,
            "directions": self.directions,
            "estimator": self.estimator,
            "orientation": self.orientation,
            "h_scale": self.h_scale,
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Per attacked image [m], was it fooled; per fooled one [n], its index, label, scores and new label.

        Raises:
            NotMeasurable: when there is nothing to attack, or no attack succeeds.
        """
        right = _predict(evaluation, evaluation.images) == evaluation.labels
        index = torch.nonzero(right).flatten()[: self.images]
        if len(index) == 0:
            raise NotMeasurable("no test image is classified correctly, so there is none to perturb")
        clean, labels = evaluation.images[index], evaluation.labels[index]
        attack = deepfool(evaluation.classifier, clean, clip=True, batch_size=evaluation.batch_size)
        evaluation.forwards += attack.forwards
        evaluation.backwards += attack.backwards
        perturbed = clean.lerp(attack.perturbed, float(self.alpha)).clamp(0, 1)  # exact at α = 1
        fooled = attack.found & (_predict(evaluation, perturbed) != labels)
        if not fooled.any():
            raise NotMeasurable(f"DeepFool fooled the network on none of {len(index)} images")

        clean, perturbed = clean[fooled], perturbed[fooled]
        with evaluation.progress.task("curvature detector", 2 * len(clean)) as task:
            on_clean = self._curvatures(evaluation, clean, task)
            on_perturbed = self._curvatures(evaluation, perturbed, task)
        return {
            "fooled": fooled.cpu().numpy(),
            "test_index": evaluation.test_index.cpu().numpy()[index[fooled].cpu().numpy()],
            "label": labels[fooled].cpu().numpy(),
            "clean_score": _join(on_clean, "score"),
            "clean_standard_error": _join(on_clean, "standard_error"),
            "perturbed_score": _join(on_perturbed, "score"),
            "perturbed_standard_error": _join(on_perturbed, "standard_error"),
            "recovered": _join(on_perturbed, "recovered"),
            "h": np.array([on_clean[0].h]),
        }

    def _curvatures(self, evaluation: Evaluation, images: Tensor, task: Task) -> list[Curvature]:
        parts = []
        for some in images.split(_AT_ONCE):
            part = mean_curvature(
                evaluation.classifier,
                some,
                # The same generator each time: every image is looked at along the same directions.
                evaluation.generator(self.name),
                directions=self.directions,
                estimator=self.estimator,
                orientation=self.orientation,
                h_scale=self.h_scale,
                batch_size=evaluation.batch_size,
            )
            evaluation.forwards += part.forwards
            evaluation.backwards += part.backwards
            parts.append(part)
            task.advance(len(some))
        return parts

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The four scores, all without a value when fewer than ten pairs are left."""
        clean, perturbed = arrays["clean_score"], arrays["perturbed_score"]
        usable = np.isfinite(clean) & np.isfinite(perturbed)
        clean, perturbed, n = clean[usable], perturbed[usable], int(usable.sum())
        counts = (
            f"{n} pairs from {len(arrays['fooled'])} correctly classified images: "
            f"{np.count_nonzero(~arrays['fooled'])} not fooled, "
            f"{np.count_nonzero(~usable)} skipped for a vanishing gradient"
        )
        if n < _FEWEST:
            reason = f"at least {_FEWEST} pairs are needed, got {counts}"
            names = (self.name, "detection_auc_calibrated", "detection/tpr_at_5fpr", "detection/recovery")
            return {name: self._score(name, None, n=n, reason=reason) for name in names}

        sign = 1.0 if _auc(clean[::2], perturbed[::2]) >= 0.5 else -1.0
        held_out = sign * clean[1::2], sign * perturbed[1::2]
        named = arrays["recovered"][usable] == arrays["label"][usable]
        recovered = int(np.count_nonzero(named & (perturbed >= 0)))
        smooth = self.estimator == "softplus"
        scale = "on the smoothed network" if smooth else f"over a step of h = {arrays['h'].item():.3f}"
        attacker = "against an attacker who does not know the detector"
        return {
            "detection_auc": self._score(
                "detection_auc",
                float(_auc(clean, perturbed)),
                *_interval(_auc, clean, perturbed),
                n=n,
                reason=f"{attacker}; {counts}; {scale}",
            ),
            "detection_auc_calibrated": self._score(
                "detection_auc_calibrated",
                float(_auc(*held_out)),
                *_interval(_auc, *held_out),
                n=len(held_out[0]),
                reason=f"{attacker}; {'larger' if sign > 0 else 'smaller'} curvature means perturbed",
            ),
            "detection/tpr_at_5fpr": self._score(
                "detection/tpr_at_5fpr",
                float(_tpr_at_5fpr(clean, perturbed)),
                *_interval(_tpr_at_5fpr, clean, perturbed),
                n=n,
                reason=attacker,
            ),
            "detection/recovery": self._score(
                "detection/recovery",
                recovered / n,
                *wilson(recovered, n),
                n=n,
                reason=f"flagged at t = 0 and labelled correctly; without a threshold {named.mean():.1%}",
            ),
        }

    def _score(
        self,
        name: str,
        value: float | None,
        low: float | None = None,
        high: float | None = None,
        *,
        n: int,
        reason: str,
    ) -> Score:
        unit = "AUC" if "auc" in name else "fraction"
        return Score(value=value, low=low, high=high, n=n, unit=unit, higher_is_better=True, reason=reason)


@torch.no_grad()
def _predict(evaluation: Evaluation, images: Tensor) -> Tensor:
    evaluation.forwards += len(images)
    return torch.cat(
        [evaluation.classifier(some).argmax(dim=1) for some in images.split(evaluation.batch_size)]
    )


def _join(parts: list[Curvature], field: str) -> np.ndarray:
    return torch.cat([getattr(part, field) for part in parts]).cpu().numpy()


def _auc(clean: np.ndarray, perturbed: np.ndarray, axis: int = -1) -> np.ndarray:
    """Area under the ROC curve: Mann and Whitney's U over the number of pairs, along an axis."""
    u = mannwhitneyu(perturbed, clean, axis=axis, method="asymptotic").statistic
    return u / (clean.shape[axis] * perturbed.shape[axis])


def _tpr_at_5fpr(clean: np.ndarray, perturbed: np.ndarray, axis: int = -1) -> np.ndarray:
    """True-positive rate at the lowest threshold that flags at most 5 % of the clean scores, along an axis."""
    allowed = math.floor(0.05 * clean.shape[axis])
    largest_unflagged = np.sort(clean, axis=axis).take([-1 - allowed], axis=axis)
    return (perturbed > largest_unflagged).mean(axis=axis)


def _interval(
    statistic: Callable[..., np.ndarray], clean: np.ndarray, perturbed: np.ndarray
) -> tuple[float, float]:
    """95 % percentile bootstrap over images: a clean one and its perturbed one are drawn together."""
    result = bootstrap(
        (clean, perturbed),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=1000,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
