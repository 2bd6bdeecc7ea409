"""Distance of images to the mean of their class's major region, and their vulnerability."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from bench.attacks.grid import find_attacks
from bench.core.errors import UserError, unknown_name
from bench.core.intervals import rank_correlation_interval
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.detection import auc, auc_interval
from bench.geometry.groups import draw
from bench.geometry.regions import major_region_vectors
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: Outcomes in the array `outcome`: misclassified without attack, broken by it, or neither.
WRONG, BROKEN, SURVIVED = 0, 1, 2
#: Split → its name in captions.
SETS = {"train": "training", "test": "test"}


@dataclass(frozen=True, kw_only=True)
class RegionDistance(Metric):
    """‖f(x) − MRV_y‖₂ of attacked images, split by the attack's outcome (P1 §3.4, figure 9).

    MRV_y is the mean feature vector of the training images in the major region of class y. `region_distance` is the
    probability that a broken image lies farther from it than a surviving one (ties count half): 0.5 without any
    relation, more by the paper. `/broken` and `/survived` are the mean distances of correctly classified clean
    images by outcome; `/logit_correlation` is Spearman's correlation between their distance and the logit of the
    label.

    Args:
        attack: a name of `bench.attacks.ATTACKS`.
        images: how many images to attack, at most.
        split: "train" draws training images at random, as the paper does; "test" takes the test images that attacks
            run on, from which no MRV was computed.
        min_count: as for `major_region_vectors`.

    Raises:
        UserError: for an unknown attack or split, fewer than 1 image, or a negative count.
    """

    needs_head = True
    name = "region_distance"
    unit: ClassVar[str] = "AUC"
    higher_is_better: ClassVar[bool | None] = None
    batteries = {"full": {"images": 1000}, "geometry": {"images": 200}, "indicators": {"images": 200}}
    charts_function = "metrics.regions.charts.region_distance:draw"

    attack: str = "pgd20"
    images: int = 200
    split: Literal["train", "test"] = "train"
    min_count: int = 50

    def __post_init__(self) -> None:
        find_attacks([self.attack])
        if self.split not in SETS:
            raise unknown_name("split", self.split, SETS)
        if self.images < 1 or self.min_count < 0:
            raise UserError(
                f"expected images from 1 and min_count from 0 on, got images={self.images}, "
                f"min_count={self.min_count}"
            )

    def settings(self) -> dict[str, Value]:
        """Attack, images, their split, and the smallest major region."""
        return {
            "attack": self.attack,
            "images": self.images,
            "split": self.split,
            "min_count": self.min_count,
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each image [n], distance, outcome, label and its logit; by class [C], size and fallback of MRV.

        Outcomes are 0 for misclassified without attack, 1 for broken, 2 for survived. A class without training
        images has no mean vector, and the distance of its images is NaN.

        Raises:
            NotMeasurable: when the network has no feature layer, or there is no training or no test image.
        """
        if len(evaluation.labels) == 0 or len(evaluation.dataset.train) == 0:
            raise NotMeasurable("training and test images are needed, and one of the sets is empty")
        images, labels = self._attacked(evaluation)
        means, counts, fell_back = self._means(evaluation)
        logits, features = _forward(evaluation, images)
        (attack,) = find_attacks([self.attack])
        result = evaluation.attack(attack, images, labels, self.name)
        right = logits.argmax(dim=1) == labels
        outcome = torch.where(result.broken, BROKEN, SURVIVED).where(right, WRONG)
        return {
            "distance": (features.double() - means[labels]).norm(dim=1).cpu().numpy(),
            "outcome": outcome.cpu().numpy(),
            "label": labels.cpu().numpy(),
            "target_logit": logits.gather(1, labels.unsqueeze(1)).squeeze(1).cpu().numpy(),
            "major_size": counts,
            "fell_back": fell_back,
        }

    def _attacked(self, evaluation: Evaluation) -> tuple[Tensor, Tensor]:
        if self.split == "test":
            return evaluation.images[: self.images], evaluation.labels[: self.images]
        train = evaluation.dataset.train
        everyone = np.ones(len(train), dtype=bool)
        chosen = draw(everyone, self.images, evaluation.generator(f"{self.name} images"))
        return train.batch(torch.from_numpy(chosen).to(train.labels.device))

    def _means(self, evaluation: Evaluation) -> tuple[Tensor, np.ndarray, np.ndarray]:
        """MRV [C, D] in float64, NaN for classes without training images; sizes and fallbacks [C]."""
        train, classes = evaluation.dataset.train, evaluation.classifier.num_classes
        present = train.labels.unique()
        place = torch.full((classes,), -1, device=present.device)
        place[present] = torch.arange(len(present), device=present.device)

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            for features, _, labels in evaluation.features(train, "means of major regions"):
                yield features, place[labels]

        found = major_region_vectors(batches, len(present), self.min_count)
        means = torch.full((classes, found.mrv.shape[1]), torch.nan, dtype=torch.float64).to(found.mrv.device)
        means[present] = found.mrv.double()
        counts, fell_back = np.zeros(classes, dtype=np.int64), np.zeros(classes, dtype=bool)
        index = present.cpu().numpy()
        counts[index] = found.counts.numpy()
        fell_back[index[list(found.fell_back)]] = True
        return means, counts, fell_back

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, *(f"{self.name}/{part}" for part in ("broken", "survived", "logit_correlation"))

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Probability, mean distances and correlation."""
        broken, survived = (distances_of(arrays, outcome) for outcome in (BROKEN, SURVIVED))
        fallbacks = int(np.count_nonzero(arrays["fell_back"]))
        notes = [f"{len(broken)} broken and {len(survived)} surviving images"]
        if fallbacks:
            notes.append(f"{fallbacks} classes with a small major region take the mean of the whole class")
        main = self.score(None, n=len(broken) + len(survived), reason=f"both are needed: {notes[0]}")
        if len(broken) and len(survived):
            value = auc(survived, broken)
            enough = min(len(survived), len(broken)) >= 2
            low, high = auc_interval(survived, broken, paired=False) if enough else (None, None)
            main = self.score(value, low, high, n=len(broken) + len(survived), reason="; ".join(notes))
        return {
            self.name: main,
            "region_distance/broken": mean_distance(broken, "no correctly classified image was broken"),
            "region_distance/survived": mean_distance(survived, "no correctly classified image survived"),
            "region_distance/logit_correlation": _correlation(arrays),
        }


def _forward(evaluation: Evaluation, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [n, K] and features [n, D]."""
    with torch.no_grad():
        parts = [
            evaluation.classifier.forward_with_features(some) for some in images.split(evaluation.batch_size)
        ]
    logits, features = (torch.cat(part) for part in zip(*parts, strict=True))
    return logits, features


def distances_of(arrays: Mapping[str, np.ndarray], outcome: int) -> np.ndarray:
    """The finite distances of the images with an outcome."""
    distance = arrays["distance"][arrays["outcome"] == outcome]
    return distance[np.isfinite(distance)]


def mean_distance(values: np.ndarray, missing: str) -> Score:
    """The mean of distances with its interval; `missing` is the reason where there is none."""
    reason = "" if len(values) else missing
    return mean_score(values, unit="feature units", reason=reason, bounds=(0.0, math.inf))


def _correlation(arrays: Mapping[str, np.ndarray]) -> Score:
    """Spearman's r with its interval; at r = ±1 it has none, and the reason says why."""
    chosen = (arrays["outcome"] != WRONG) & np.isfinite(arrays["distance"])
    distance, logit = arrays["distance"][chosen], arrays["target_logit"][chosen]
    n = len(distance)
    same = [what for what, values in (("distance", distance), ("logit", logit)) if n and np.ptp(values) == 0]
    if n < 4 or same:
        reason = f"needs 4 correctly classified images, there are {n}"
        if n >= 4:
            reason = f"the {n} correctly classified images do not differ in {' or '.join(same)}"
        return Score(value=None, n=n, unit="correlation", reason=reason)
    r = float(spearmanr(distance, logit).statistic)
    if 1 - abs(r) < 1e-12:
        reason = (
            f"distances and logits of {n} images are in the same order or in the opposite one: no interval"
        )
        return Score(value=r, n=n, unit="correlation", reason=reason)
    low, high = rank_correlation_interval(r, n)
    return Score(value=r, low=low, high=high, n=n, unit="correlation")
