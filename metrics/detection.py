"""Whether boundary curvature gives adversarial images away (classification regions, §V)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.core.attacks.deepfool import deepfool
from bench.core.curvature import Curvature, Estimator, Orientation, mean_curvature
from bench.core.detection import FEWEST, auc, calibrated_side, paired_interval, tpr_at_5fpr
from bench.core.errors import UserError
from bench.core.predictor import Predictor
from bench.core.progress import Task
from bench.core.record import Score, Value
from bench.core.statistics import wilson
from metrics.base import Arrays, Evaluation, Metric, NotMeasurable


@dataclass(frozen=True, kw_only=True)
class Detection(Metric):
    """How well the mean curvature ρ tells DeepFool's images from the clean ones they came from.

    This is against an attacker who does not know the detector; one who does can lower ρ as well.
    `detection_auc` takes the paper's side, larger ρ means perturbed; `detection_auc_calibrated` takes the side
    that is right on half of the images and is measured on the other half; `detection/tpr_at_5fpr` is the share
    of perturbed images found when 5 % of the clean ones are flagged; `detection/recovery` is the share of them
    that algorithm 2 flags at t = 0 and labels correctly. Intervals: bootstrap over images, Wilson for recovery.
    Larger perturbations (α = 2, 5) and an attacker who does know it: see `DetectionAttackers`.

    Args:
        images: how many correctly classified images to perturb, at most.
        directions, estimator, orientation, h_scale: as for `mean_curvature`.

    Raises:
        UserError: for fewer than 1 image.
    """

    name = "detection_auc"
    unit: ClassVar[str] = "AUC"

    images: int = 200
    directions: int = 100
    estimator: Estimator = "second_difference"
    orientation: Orientation = "algorithm2"
    h_scale: float = 1.0

    def __post_init__(self) -> None:
        if self.images < 1:
            raise UserError(f"expected at least 1 image to perturb, got images={self.images}")

    def settings(self) -> dict[str, Value]:
        """The attack and how curvature is measured."""
        return {
            "attack": "deepfool, clipped to the pixel box",
            "images": self.images,
            "alpha": 1,
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
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        right = predict(evaluation.images) == evaluation.labels
        evaluation.forwards += predict.forwards
        index = torch.nonzero(right).flatten()[: self.images]
        if len(index) == 0:
            raise NotMeasurable("no test image is classified correctly, so there is none to perturb")
        clean, labels = evaluation.images[index], evaluation.labels[index]
        attack = deepfool(evaluation.classifier, clean, clip=True, batch_size=evaluation.batch_size)
        evaluation.forwards += attack.forwards
        evaluation.backwards += attack.backwards
        perturbed, fooled = attack.perturbed, attack.found
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
            "clean_score": on_clean.score.cpu().numpy(),
            "clean_standard_error": on_clean.standard_error.cpu().numpy(),
            "perturbed_score": on_perturbed.score.cpu().numpy(),
            "perturbed_standard_error": on_perturbed.standard_error.cpu().numpy(),
            "recovered": on_perturbed.recovered.cpu().numpy(),
            "h": np.array([on_clean.h]),
        }

    def _curvatures(self, evaluation: Evaluation, images: Tensor, task: Task) -> Curvature:
        result = mean_curvature(
            evaluation.classifier,
            images,
            # The same generator each time: every image is looked at along the same directions.
            evaluation.generator(self.name),
            directions=self.directions,
            estimator=self.estimator,
            orientation=self.orientation,
            h_scale=self.h_scale,
            batch_size=evaluation.batch_size,
            task=task,
        )
        evaluation.forwards += result.forwards
        evaluation.backwards += result.backwards
        return result

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
        if n < FEWEST:
            reason = f"at least {FEWEST} pairs are needed, got {counts}"
            names = (self.name, "detection_auc_calibrated", "detection/tpr_at_5fpr", "detection/recovery")
            return {name: detection_score(name, None, n=n, reason=reason) for name in names}

        sign = calibrated_side(clean[::2], perturbed[::2])
        held_out = sign * clean[1::2], sign * perturbed[1::2]
        named = arrays["recovered"][usable] == arrays["label"][usable]
        recovered = int(np.count_nonzero(named & (perturbed >= 0)))
        smooth = self.estimator == "softplus"
        scale = "on the smoothed network" if smooth else f"over a step of h = {arrays['h'].item():.3f}"
        attacker = "against an attacker who does not know the detector"
        return {
            "detection_auc": detection_score(
                "detection_auc",
                float(auc(clean, perturbed)),
                *paired_interval(auc, clean, perturbed),
                n=n,
                reason=f"{attacker}; {counts}; {scale}",
            ),
            "detection_auc_calibrated": detection_score(
                "detection_auc_calibrated",
                float(auc(*held_out)),
                *paired_interval(auc, *held_out),
                n=len(held_out[0]),
                reason=f"{attacker}; {'larger' if sign > 0 else 'smaller'} curvature means perturbed",
            ),
            "detection/tpr_at_5fpr": detection_score(
                "detection/tpr_at_5fpr",
                float(tpr_at_5fpr(clean, perturbed)),
                *paired_interval(tpr_at_5fpr, clean, perturbed),
                n=n,
                reason=attacker,
            ),
            "detection/recovery": detection_score(
                "detection/recovery",
                recovered / n,
                *wilson(recovered, n),
                n=n,
                reason=f"flagged at t = 0 and labelled correctly; without a threshold {named.mean():.1%}",
            ),
        }


def detection_score(
    name: str,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    *,
    n: int,
    reason: str,
) -> Score:
    """A score of the detector: an AUC, or the share of images that it finds or names."""
    unit = "AUC" if "auc" in name else "fraction"
    return Score(value=value, low=low, high=high, n=n, unit=unit, higher_is_better=True, reason=reason)
