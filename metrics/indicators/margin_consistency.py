"""Whether the order of images by logit margin is their order by distance to the decision boundary."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.guards import evaluating, frozen, random_state_kept
from bench.core.record import Score, Value
from bench.core.statistics import median_score
from bench.core.threat import Threat
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: Fewer images have no rank correlation worth a number.
FEWEST = 3


@dataclass(frozen=True, kw_only=True)
class MarginConsistency(Metric):
    """Kendall's τ between the logit margin and the input margin of test images.

    The logit margin of a decision is the largest logit minus the second; its input margin is the distance, in
    the norm of the threat, to the nearest point of another class. FAB finds an upper bound of it, within the
    pixel box and without a bound on the distance. All images count, with their predicted classes; those where
    FAB finds nothing are left out, and the reason says how many. `/input_margin` is the median input margin.
    The interval of τ is that of Fieller's normal approximation to artanh τ (standard error √(0.437/(n − 4))).

    Args:
        images: number of test images, the first ones.
        steps: of FAB; each costs K backward passes for K classes.

    Raises:
        UserError: for fewer than 1 image or step.

    Source: Ngnawé et al. 2024, Detecting Brittle Decisions for Free, arXiv 2406.18451, sections 2 and 4; FAB:
    Croce & Hein 2020, arXiv 1907.02044.
    """

    name = "margin_consistency"
    titles = {"margin_consistency": "Margin consistency"}
    unit: ClassVar[str] = "tau"
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"indicators": {}}

    images: int = 100
    steps: int = 20

    def __post_init__(self) -> None:
        if min(self.images, self.steps) < 1:
            raise UserError(f"expected images and steps from 1, got {self.images} and {self.steps}")

    def settings(self) -> dict[str, Value]:
        """Number of images, and the attack."""
        return {"images": self.images, "attack": "fab, untargeted", "steps": self.steps}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Logit margin and input margin of each image [n], the latter ∞ where none was found.

        Raises:
            NotMeasurable: when there are too few images.
        """
        images = evaluation.images[: self.images]
        if len(images) < FEWEST:
            raise NotMeasurable(f"a rank correlation needs {FEWEST} test images, got {len(images)}")
        logit, distance = [], []
        with evaluation.progress.task("margin consistency", len(images)) as task:
            for some in images.split(evaluation.batch_size):
                with torch.no_grad():
                    top = evaluation.classifier(some).topk(2, dim=1)
                logit.append((top.values[:, 0] - top.values[:, 1]).double().cpu().numpy())
                distance.append(
                    nearest(evaluation.classifier, some, top.indices[:, 0], evaluation.threat, self.steps)
                )
                task.advance(len(some))
        return {"logit_margin": np.concatenate(logit), "input_margin": np.concatenate(distance)}

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/input_margin"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """τ with its interval, and the median input margin."""
        found = np.isfinite(arrays["input_margin"])
        lost = int((~found).sum())
        note = f"FAB found no other class from {lost} of {len(found)} images" if lost else ""
        return {
            self.name: self._correlation(arrays["logit_margin"][found], arrays["input_margin"][found], note),
            f"{self.name}/input_margin": median_score(
                arrays["input_margin"], unit="pixel", reason=note, infinite="FAB fails on half of the images"
            ),
        }

    def _correlation(self, logit: np.ndarray, distance: np.ndarray, note: str) -> Score:
        n = len(logit)
        if n < FEWEST or np.ptp(logit) == 0 or np.ptp(distance) == 0:
            return self.score(None, n=n, reason=note or "all margins are equal")
        tau = round(float(stats.kendalltau(logit, distance).statistic), 12)
        if n <= 4 or abs(tau) == 1:
            return self.score(tau, n=n, reason=note)
        reach = 1.959964 * math.sqrt(0.437 / (n - 4))
        low, high = math.tanh(math.atanh(tau) - reach), math.tanh(math.atanh(tau) + reach)
        return self.score(tau, low, high, n=n, reason=note)


def nearest(
    classifier: AnyClassifier, images: Tensor, predicted: Tensor, threat: Threat, steps: int
) -> np.ndarray:
    """Distance from each image [n] to the nearest point of another class that FAB finds; ∞ where it finds none."""
    from pyautoattack.fab_pt import FABAttack_PT

    if threat.norm == "linf":
        norm, largest = "Linf", 1.0
    else:
        norm, largest = "L2", math.sqrt(images[0].numel())
    attack = FABAttack_PT(classifier, norm=norm, n_iter=steps, eps=largest + 1.0, device=images.device)
    with evaluating(classifier), frozen(classifier), random_state_kept():
        points = attack.perturb(images, predicted).detach()
        with torch.no_grad():
            moved = classifier(points).argmax(dim=1) != predicted
    distance = threat.distance(points, images)
    return torch.where(moved, distance, torch.full_like(distance, torch.inf)).cpu().numpy()
