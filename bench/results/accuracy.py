"""Accuracies over training seeds, with intervals for the choice of test images."""

from dataclasses import dataclass

import numpy as np

from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from leaderboards.entry import Summary


@dataclass(frozen=True)
class Accuracy:
    """An accuracy over training seeds.

    Attributes:
        value: mean over the seeds.
        low, high: mean of the seeds' 95 % intervals, which are for the choice of test images.
        n: number of test images.
        seeds: number of seeds.
        std: standard deviation over the seeds; None for one seed.
    """

    value: float
    low: float
    high: float
    n: int
    seeds: int
    std: float | None


def accuracy_of(outcomes: np.ndarray) -> Accuracy:
    """The accuracy of outcomes bool [seeds, n]."""
    seeds, n = outcomes.shape
    intervals = np.array([proportion_interval(int(row.sum()), n) for row in outcomes])
    std = float(outcomes.mean(axis=1).std(ddof=1)) if seeds > 1 else None
    low, high = intervals.mean(axis=0)
    return Accuracy(float(outcomes.mean()), float(low), float(high), n, seeds, std)


def accuracy_of_score(score: Summary) -> Accuracy:
    """The accuracy of a score without outcomes; its own interval, or that of a proportion where it has none.

    Raises:
        UserError: when the number of images is unknown.
    """
    assert score.mean is not None
    if not score.n:
        raise UserError("an accuracy without its number of images has no interval")
    low, high = proportion_interval(round(score.mean * score.n), score.n)
    return Accuracy(
        score.mean,
        low if score.low is None else score.low,
        high if score.high is None else score.high,
        score.n,
        score.seeds,
        score.std,
    )
