"""Why attacks fail: zero gradients, or logits that move in parallel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.attacks.grid import find_attacks
from bench.attacks.losses import losses_of
from bench.attacks.zero_gradient import zero_gradients
from bench.charts.histograms import thumbnails
from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: Examples of each outcome that charts show.
EXAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class LogitMotion(Metric):
    """Cosine between the logits before and after an attack, and the attack's outcomes (P1 §3.2, figure 5).

    `logit_motion` is the mean cosine over images that are classified correctly without attack; "after" is the
    iterate that broke the image, or the last one. `/cosine_succeeded` and `/cosine_failed` split it by outcome;
    `/change_succeeded` and `/change_failed` are the mean length of the change. The others are shares of all images:
    `/succeeded` of those that are broken or misclassified already, `/failed_gradient` of those that withstand and
    have an input gradient without attack, `/failed_zero_gradient` of those that withstand and whose gradient is
    exactly zero in float32, `/failed_zero_gradient_float64` of those where it is zero in float64 as well.

    Args:
        attack: a name of `bench.attacks.ATTACKS`; the gradient is that of its first loss.
        images: how many of the test images that attacks run on, at most.

    Raises:
        UserError: for an unknown attack, or fewer than 1 image.
    """

    name = "logit_motion"
    unit: ClassVar[str] = "cosine"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"full": {"images": 1000}, "geometry": {"images": 200}}
    charts_function = "metrics.regions.charts.logit_motion:draw"

    attack: str = "pgd20"
    images: int = 200

    def __post_init__(self) -> None:
        find_attacks([self.attack])
        if self.images < 1:
            raise UserError(f"expected at least 1 image to attack, got images={self.images}")

    def settings(self) -> dict[str, Value]:
        """Attack and number of images."""
        return {"attack": self.attack, "images": self.images}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Logits before and after [n, K]; labels, and whether images were correct, broken, without gradient [n].

        For the examples in charts, their positions [e] and thumbnails without and under attack [e, C, h, w].

        Raises:
            NotMeasurable: when there is no image.
        """
        images, labels = evaluation.first(self.images)
        (attack,) = find_attacks([self.attack])
        result = evaluation.attack(attack, images, labels, self.name)
        gradients = zero_gradients(
            evaluation.classifier,
            images,
            labels,
            losses_of(attack.loss)[0],
            batch_size=evaluation.batch_size,
        )
        right, broken = gradients.right.cpu().numpy(), result.broken.cpu().numpy()
        shown = np.array([index for index, _ in examples(right, broken)], dtype=np.int64)
        places = torch.from_numpy(shown).to(images.device)
        return {
            "label": labels.cpu().numpy(),
            "before": _logits(evaluation, images),
            "after": _logits(evaluation, result.adversarial),
            "right": right,
            "broken": broken,
            "zero_gradient": gradients.float32.cpu().numpy(),
            "zero_gradient_float64": gradients.float64.cpu().numpy(),
            "shown_index": shown,
            "shown_clean": thumbnails(images[places].cpu().numpy()),
            "shown_attacked": thumbnails(result.adversarial[places].float().cpu().numpy()),
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        parts = (
            *(f"{what}_{outcome}" for what in ("cosine", "change") for outcome in ("succeeded", "failed")),
            *("succeeded", "failed_gradient", "failed_zero_gradient", "failed_zero_gradient_float64"),
        )
        return self.name, *(f"{self.name}/{part}" for part in parts)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Cosines, changes and shares of outcomes."""
        right, broken = arrays["right"], arrays["broken"]
        cosine = cosines(arrays["before"], arrays["after"])
        length = np.linalg.norm(arrays["after"].astype(np.float64) - arrays["before"], axis=1)
        succeeded, failed = right & broken, right & ~broken
        none_right = "no image is classified correctly without attack"
        never = {
            outcome: f"the attack never {outcome}" if right.any() else none_right
            for outcome in ("succeeded", "failed")
        }
        scores = {
            self.name: _mean(cosine[right], "cosine", none_right),
            "logit_motion/cosine_succeeded": _mean(cosine[succeeded], "cosine", never["succeeded"]),
            "logit_motion/cosine_failed": _mean(cosine[failed], "cosine", never["failed"]),
            "logit_motion/change_succeeded": _mean(length[succeeded], "logits", never["succeeded"]),
            "logit_motion/change_failed": _mean(length[failed], "logits", never["failed"]),
        }
        for outcome, mask in by_outcome(arrays).items():
            low, high = proportion_interval(int(np.count_nonzero(mask)), len(mask))
            scores[f"logit_motion/{outcome}"] = Score(
                value=float(mask.mean()), low=low, high=high, n=len(mask), unit="fraction"
            )
        return scores


def cosines(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Cosine between each row before [n, K] and the same row after: [n]; NaN where one of them is zero."""
    before, after = before.astype(np.float64), after.astype(np.float64)
    lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    products = (before * after).sum(axis=1)
    return np.divide(products, lengths, out=np.full(len(before), np.nan), where=lengths > 0).clip(-1, 1)


def examples(right: np.ndarray, broken: np.ndarray) -> list[tuple[int, str]]:
    """Positions of the examples in charts, each with the outcome of the attack."""
    return [
        *((int(index), "succeeded") for index in np.flatnonzero(right & broken)[:EXAMPLES]),
        *((int(index), "failed") for index in np.flatnonzero(right & ~broken)[:EXAMPLES]),
    ] or [(0, "wrong without attack")]


def by_outcome(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Outcome, as scores are named → whether each image had it: bool [n]."""
    failed = ~arrays["broken"]
    return {
        "succeeded": ~failed,
        "failed_gradient": failed & ~arrays["zero_gradient"],
        "failed_zero_gradient": failed & arrays["zero_gradient"],
        "failed_zero_gradient_float64": failed & arrays["zero_gradient_float64"],
    }


def _mean(values: np.ndarray, unit: str, missing: str) -> Score:
    bounds = (-1.0, 1.0) if unit == "cosine" else (0.0, np.inf)
    reason = missing if len(values) == 0 else ""
    if len(values) and not np.isfinite(values).any():
        reason = (
            f"all logits of {len(values)} images are zero before or after the attack, and have no direction"
        )
    return mean_score(values, unit=unit, reason=reason, bounds=bounds)


@torch.no_grad()
def _logits(evaluation: Evaluation, images: Tensor) -> np.ndarray:
    parts = [evaluation.classifier(some).float() for some in images.split(evaluation.batch_size)]
    return torch.cat(parts).cpu().numpy()
