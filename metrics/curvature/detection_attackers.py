"""The curvature detector against larger perturbations and an attacker who knows it (Fawzi et al., §V)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from bench.core.errors import UserError
from bench.core.predictor import Predictor
from bench.core.progress import Task
from bench.core.record import Score, Value
from bench.geometry.detection import FEWEST, calibrated_side
from bench.geometry.evasion import evade
from metrics.curvature.curvature_detector import (
    NAMES,
    CurvatureDetector,
    Perturbed,
    auc_score,
    found_score,
    no_score,
    recovery_score,
)
from metrics.evaluation import Arrays, Evaluation

#: Factors of DeepFool's perturbation (figure 8, right); the first is that of `detection_auc`.
ALPHAS = (1, 2, 5)
#: Direction of the detector that the aware attacker knows → the attacker's name in the arrays.
AWARE = {1: "aware", -1: "aware_of_opposite"}


@dataclass(frozen=True, kw_only=True)
class DetectionAttackers(CurvatureDetector):
    """How well ρ separates clean images from those of an attacker who knows the detector, and from scaled DeepFool.

    Attacker-aware AUC (`detection_auc/attacker_aware`): the attack starts from DeepFool's images and continues with
    orthogonal projected gradient descent (`bench.geometry.evasion`) in the ℓ2 ball of five times DeepFool's
    distance, the reach of α = 5. It descends a surrogate of ρ: second differences over the detector's h along a few
    random directions of the attacker, with normals held constant, over the ten strongest classes. Of the iterates
    that fool the classifier, the one with the lowest surrogate is taken. The calibrated AUC is against an attacker
    who knows the calibrated direction. `…/alpha2` and `…/alpha5` are for an attacker who does not know the detector
    and scales DeepFool's perturbation; images that no longer fool the classifier are left out. Each comes with
    `detection_auc_calibrated/…`, `detection/tpr_at_5fpr/…` and `detection/recovery/…`, as `detection_auc` defines
    them. Images are clipped to the pixel box, which shortens α times DeepFool's perturbation; without `clip`, as in
    the paper, they are not.

    Args:
        images: how many correctly classified images to perturb, at most.
        steps: of the aware attacker.
        surrogate_directions: random directions of the attacker's surrogate.
        directions, estimator, orientation, h_scale: of the detector, as for `mean_curvature`.
        clip: as for `CurvatureDetector`; the aware attacker's steps are not clipped without it either.

    Raises:
        UserError: for counts below 1, or settings that `mean_curvature` refuses.

    Source: Fawzi et al., Classification regions of deep neural networks, §V, figure 8; the aware attacker is ours.
    """

    name = "detection_auc/attacker_aware"
    titles = {"detection_auc/attacker_aware": "Detection AUC, against an attacker who knows it"}
    batteries = {
        "quick": {"images": 40},
        "standard": {"images": 100},
        "full": {"images": 300},
        "geometry": {"images": 40},
        "indicators": {"images": 40},
    }
    charts_function = "metrics.curvature.charts.detection_attackers:draw"

    images: int = 40
    steps: int = 20
    surrogate_directions: int = 10

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("steps", "surrogate_directions"):
            if getattr(self, name) < 1:
                raise UserError(f"expected {name} from 1, got {name}={getattr(self, name)}")

    def settings(self) -> dict[str, Value]:
        """The attacks, and how curvature is measured."""
        return {
            "attack": f"deepfool, {self.box}, times 1, 2 and 5",
            "aware_attack": "orthogonal PGD on the margin and a second-difference surrogate of the score, "
            "best fooling iterate, l2 ball of 5 times deepfool's distance",
            "images": self.images,
            "steps": self.steps,
            "surrogate_directions": self.surrogate_directions,
            **super().settings(),
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Scores of the clean images [m]; by attacker, whether it fooled, scores, new labels, distances [m].

        Raises:
            NotMeasurable: when no image is classified correctly, or DeepFool fools the network on none.
        """
        pairs = self.perturb(evaluation)
        clean, found = pairs.clean, pairs.attack.found
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        with evaluation.progress.task("detector and its attackers", 6 * len(clean)) as task:
            on_clean = self.curvatures(evaluation, clean, task)
            arrays: Arrays = {
                "test_index": evaluation.test_index.cpu().numpy()[pairs.index.cpu().numpy()],
                "label": pairs.labels.cpu().numpy(),
                "clean_score": on_clean.score.cpu().numpy(),
                "h": np.array([on_clean.h]),
            }
            for alpha in ALPHAS:
                scaled = clean.lerp(pairs.attack.perturbed, float(alpha))
                scaled = scaled.clamp(0, 1) if self.clip else scaled
                fooled = found & (predict(scaled) != pairs.labels)
                arrays |= self._attacker(f"alpha{alpha}", evaluation, clean, scaled, fooled, task)
            side = self._side(arrays)
            for wanted in sorted({1, side}):
                perturbed = self._evade(evaluation, pairs, wanted, task)
                fooled = found & (predict(perturbed) != pairs.labels)
                arrays |= self._attacker(AWARE[wanted], evaluation, clean, perturbed, fooled, task)
        return arrays

    def _attacker(
        self,
        attacker: str,
        evaluation: Evaluation,
        clean: Tensor,
        perturbed: Tensor,
        fooled: Tensor,
        task: Task,
    ) -> Arrays:
        scores = np.full(len(clean), np.nan)
        recovered = np.full(len(clean), -1)
        rows = fooled.cpu().numpy()
        if rows.any():
            result = self.curvatures(evaluation, perturbed[fooled], task)
            scores[rows], recovered[rows] = result.score.cpu().numpy(), result.recovered.cpu().numpy()
        return {
            f"{attacker}/fooled": rows,
            f"{attacker}/score": scores,
            f"{attacker}/recovered": recovered,
            f"{attacker}/distance": (perturbed - clean).flatten(1).norm(dim=1).cpu().numpy(),
        }

    def _evade(self, evaluation: Evaluation, pairs: Perturbed, side: int, task: Task) -> Tensor:
        """Images of the aware attacker; clean ones where DeepFool did not fool the network."""
        clean, attack = pairs.clean, pairs.attack
        found, perturbed = attack.found, clean.clone()
        sign = 1.0 if self.orientation == "algorithm2" else -1.0
        result = evade(
            evaluation.classifier,
            clean[found],
            pairs.labels[found],
            attack.perturbed[found],
            max(ALPHAS) * (attack.perturbed - clean)[found].flatten(1).norm(dim=1),
            evaluation.generator(f"{self.name}/attacker"),
            side=side * sign,
            steps=self.steps,
            directions=self.surrogate_directions,
            h_scale=self.h_scale,
            clip=self.clip,
            batch_size=evaluation.batch_size,
            task=task,
        )
        perturbed[found] = result.adversarial
        return perturbed

    @staticmethod
    def _side(arrays: Mapping[str, np.ndarray]) -> int:
        """The sign of ρ that means perturbed, calibrated by DeepFool's images on every other image."""
        clean, perturbed = usable(arrays, "alpha1", slice(None, None, 2))
        return int(calibrated_side(clean, perturbed)) if len(clean) else 1

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        scores = [f"{kind}/{title}" for title in ("alpha2", "alpha5", "attacker_aware") for kind in NAMES]
        return self.name, *(score for score in scores if score != self.name)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The four scores against each attacker, without values when fewer than ten pairs are usable."""
        side = self._side(arrays)
        scores: dict[str, Score] = {}
        for title, attacker, calibrated in (
            ("alpha2", "alpha2", "alpha2"),
            ("alpha5", "alpha5", "alpha5"),
            ("attacker_aware", AWARE[1], AWARE[side]),
        ):
            scores |= self._scores(arrays, title, attacker, calibrated, side)
        return scores

    def _scores(
        self, arrays: Mapping[str, np.ndarray], title: str, attacker: str, calibrated: str, side: int
    ) -> dict[str, Score]:
        clean, perturbed = usable(arrays, attacker)
        n, fooled = len(clean), arrays[f"{attacker}/fooled"]
        longer = length_ratios(arrays, attacker, fooled)
        who = "knows the detector" if title == "attacker_aware" else "does not know the detector"
        scale = "on the smoothed network" if self.estimator == "softplus" else f"h = {arrays['h'].item():.3f}"
        reason = (
            f"against an attacker who {who}; {n} pairs from {len(fooled)} correctly classified images: "
            f"{np.count_nonzero(~fooled)} not fooled, {np.count_nonzero(fooled) - n} without a normal; {scale}"
        )
        if len(longer):
            reason += f"; perturbations {np.median(longer):.1f} times DeepFool's (median)"
        if n < FEWEST:
            missing = f"at least {FEWEST} pairs are needed; {reason}"
            return {f"{name}/{title}": no_score(name, n, missing) for name in NAMES}

        named = (arrays[f"{attacker}/recovered"] == arrays["label"])[usable_rows(arrays, attacker)]
        scores = (
            auc_score(clean, perturbed, reason),
            self._calibrated(arrays, calibrated, side, who),
            found_score(clean, perturbed, reason),
            recovery_score(self.algorithm2(perturbed), named, reason),
        )
        return {f"{name}/{title}": score for name, score in zip(NAMES, scores, strict=True)}

    @staticmethod
    def _calibrated(arrays: Mapping[str, np.ndarray], attacker: str, side: int, who: str) -> Score:
        clean, perturbed = (side * part for part in usable(arrays, attacker, slice(1, None, 2)))
        reason = (
            f"against an attacker who {who}; {'larger' if side > 0 else 'smaller'} curvature means perturbed, "
            "chosen by DeepFool's images on the other half"
        )
        if len(clean) < FEWEST // 2:
            return no_score("detection_auc_calibrated", len(clean), f"too few pairs in this half; {reason}")
        return auc_score(clean, perturbed, reason)


def length_ratios(arrays: Mapping[str, np.ndarray], attacker: str, rows: np.ndarray) -> np.ndarray:
    """Lengths of an attacker's perturbations relative to DeepFool's, for some rows."""
    return arrays[f"{attacker}/distance"][rows] / arrays["alpha1/distance"][rows]


def usable_rows(arrays: Mapping[str, np.ndarray], attacker: str) -> np.ndarray:
    """Whether an image has a score both clean and from the attacker: bool [m]."""
    return np.isfinite(arrays["clean_score"]) & np.isfinite(arrays[f"{attacker}/score"])


def usable(
    arrays: Mapping[str, np.ndarray], attacker: str, part: slice = slice(None)
) -> tuple[np.ndarray, np.ndarray]:
    """Clean and perturbed scores of the usable images, of all or of a part of them."""
    rows = usable_rows(arrays, attacker)[part]
    return arrays["clean_score"][part][rows], arrays[f"{attacker}/score"][part][rows]
