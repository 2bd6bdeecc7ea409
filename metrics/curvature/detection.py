"""Detection of adversarial images by the curvature of the boundary (Fawzi et al., §V)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bench.core.record import Score, Value
from bench.geometry.detection import FEWEST, calibrated_side
from metrics.curvature.curvature_detector import (
    NAMES,
    CurvatureDetector,
    auc_score,
    found_score,
    no_score,
    recovery_score,
)
from metrics.evaluation import Arrays, Evaluation


@dataclass(frozen=True, kw_only=True)
class Detection(CurvatureDetector):
    """How well the mean curvature ρ separates DeepFool's images from the clean ones they came from.

    The attacker does not know the detector; one who does can lower ρ as well. For larger perturbations (α = 2, 5)
    and an attacker who knows the detector, see `DetectionAttackers`. `detection_auc` takes the paper's direction,
    larger ρ means perturbed. `detection_auc_calibrated` takes the direction that is right on half of the images,
    and is measured on the other half. `detection/tpr_at_5fpr` is the share of perturbed images that are flagged
    where 5 % of further clean ones would be at most, and needs 19 pairs; `detection/recovery` is the share that
    algorithm 2 flags at t = 0 and labels correctly. For the intervals see `bench.geometry.detection`.

    Args:
        images: how many correctly classified images to perturb, at most.
        directions, estimator, orientation, h_scale: as for `mean_curvature`.
        clip: as for `CurvatureDetector`.

    Raises:
        UserError: for fewer than 1 image, or settings that `mean_curvature` refuses.
    """

    name = "detection_auc"
    titles = {
        "detection_auc": "Detection AUC, literal",
        "detection_auc_calibrated": "Detection AUC, calibrated",
        "detection/tpr_at_5fpr": "Detected at 5 % false alarms",
        "detection/recovery": "Labels recovered after detection",
    }
    batteries = {
        "quick": {"images": 100},
        "standard": {"images": 300},
        "full": {"images": 1000},
        "geometry": {"images": 100},
        "indicators": {"images": 100},
    }

    images: int = 200

    def settings(self) -> dict[str, Value]:
        """The attack and how curvature is measured."""
        return {
            "attack": f"deepfool, {self.box}",
            "images": self.images,
            "alpha": 1,
            **super().settings(),
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Whether DeepFool fooled the network on each image [m]; positions, labels, scores of the n where it did.

        Raises:
            NotMeasurable: when there is nothing to attack, or no attack succeeds.
        """
        pairs = self.perturb(evaluation)
        fooled = pairs.attack.found
        clean, perturbed = pairs.clean[fooled], pairs.attack.perturbed[fooled]
        with evaluation.progress.task("curvature detector", 2 * len(clean)) as task:
            on_clean = self.curvatures(evaluation, clean, task)
            on_perturbed = self.curvatures(evaluation, perturbed, task)
        return {
            "fooled": fooled.cpu().numpy(),
            "test_index": evaluation.test_index.cpu().numpy()[pairs.index[fooled].cpu().numpy()],
            "label": pairs.labels[fooled].cpu().numpy(),
            "clean_score": on_clean.score.cpu().numpy(),
            "clean_standard_error": on_clean.standard_error.cpu().numpy(),
            "perturbed_score": on_perturbed.score.cpu().numpy(),
            "perturbed_standard_error": on_perturbed.standard_error.cpu().numpy(),
            "recovered": on_perturbed.recovered.cpu().numpy(),
            "h": np.array([on_clean.h]),
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return NAMES

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The four scores, without values when fewer than ten pairs are usable."""
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
            return {name: no_score(name, n, reason) for name in NAMES}

        sign = calibrated_side(clean[::2], perturbed[::2])
        smooth = self.estimator == "softplus"
        scale = "on the smoothed network" if smooth else f"over a step of h = {arrays['h'].item():.3f}"
        attacker = "against an attacker who does not know the detector"
        side = f"{'larger' if sign > 0 else 'smaller'} curvature means perturbed"
        named = arrays["recovered"][usable] == arrays["label"][usable]
        found = (
            auc_score(clean, perturbed, f"{attacker}; {counts}; {scale}"),
            auc_score(sign * clean[1::2], sign * perturbed[1::2], f"{attacker}; {side}"),
            found_score(clean, perturbed, attacker),
            recovery_score(self.algorithm2(perturbed), named),
        )
        return dict(zip(NAMES, found, strict=True))
