"""Kinds of intervals on samples of distributions with a known truth."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.random import Generator
from scipy import stats

from bench.core.intervals import mean_interval, rank_correlation_interval
from bench.core.statistics import mean_difference, median_score, paired_difference, unpaired_difference
from bench.geometry.detection import FEWEST_FOR_THRESHOLD, auc_interval, tpr_interval
from bench.results.accuracy import accuracy_of
from benchmarks.coverage.earlier import Ends, fieller, many_aucs, many_rates, percentile_bootstrap, student

Sample = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Case:
    """A kind of interval on samples from a distribution with a known truth.

    Attributes:
        kind, distribution: as the table names them.
        truth: what an interval should cover.
        draw: a sample of n examples.
        after, before: the interval of a sample, as it is now, and in battery version 2; None: the same.
        smallest: the smallest sample that has an interval.
        bootstrapped: whether the earlier interval is a bootstrap.
    """

    kind: str
    distribution: str
    truth: float
    draw: Callable[[Generator, int], Sample]
    after: Callable[..., Ends]
    before: Callable[..., Ends] | None = None
    smallest: int = 5
    bootstrapped: bool = False


def coverage(case: Case, interval: Callable[..., Ends], n: int, rounds: int, seed: int = 0) -> float:
    """The share of samples whose interval covers the truth; NaN where no sample has an interval."""
    generator = np.random.default_rng([seed, n])
    found = [interval(*case.draw(generator, n)) for _ in range(rounds)]
    ends = np.array([each for each in found if each is not None]).reshape(-1, 2)
    slack = 1e-12
    covered = (ends[:, 0] <= case.truth + slack) & (case.truth - slack <= ends[:, 1])
    return float(covered.mean()) if len(ends) else math.nan


def skewness_corrected(values: np.ndarray) -> Ends:
    """The interval of a mean, where it has one."""
    return mean_interval(values) if np.ptp(values) > 0 else None


def rank_correlation(first: np.ndarray, second: np.ndarray) -> Ends:
    """The interval of Spearman's correlation, where it has one."""
    r = float(stats.spearmanr(first, second).statistic)
    return rank_correlation_interval(r, len(first)) if abs(r) < 1 - 1e-12 else None


def median(values: np.ndarray) -> Ends:
    """The interval of a median, where it has one."""
    score = median_score(values, unit="", infinite="")
    return None if score.low is None or score.high is None else (score.low, score.high)


def _alone(draw: Callable[[Generator, int], np.ndarray]) -> Callable[[Generator, int], Sample]:
    return lambda generator, n: (draw(generator, n),)


def means() -> Iterator[Case]:
    """Means of values that are skewed, tied, or neither."""
    draws: dict[str, tuple[float, Callable[[Generator, int], np.ndarray]]] = {
        "normal": (0, lambda g, n: g.normal(size=n)),
        "exponential": (1, lambda g, n: g.exponential(size=n)),
        "log-normal": (math.exp(0.5), lambda g, n: g.lognormal(size=n)),
        "beta(0.3, 3)": (1 / 11, lambda g, n: g.beta(0.3, 3, size=n)),
        "five levels": (1.91, lambda g, n: g.choice([0.0, 1, 2, 3, 10], n, p=[0.3, 0.3, 0.15, 0.17, 0.08])),
        "nine zeros in ten": (0.1, lambda g, n: np.where(g.random(n) < 0.9, 0, g.exponential(size=n))),
        "zeros and ones, half": (0.5, lambda g, n: (g.random(n) < 0.5).astype(float)),
    }
    for name, (truth, draw) in draws.items():
        yield Case("mean", name, truth, _alone(draw), skewness_corrected, student)
    yield Case(
        "median", "exponential", math.log(2), lambda g, n: (g.exponential(size=n),), median, smallest=6
    )


def scores(
    area: float, spread: float = 1.0, correlation: float = 0.0, digits: int = 9
) -> Callable[..., Sample]:
    """Draws normal scores of clean images, N(0, 1), and of perturbed ones, N(shift, spread), with a given AUC."""
    shift = float(stats.norm.ppf(area)) * math.hypot(1, spread)

    def draw(generator: Generator, n: int) -> Sample:
        clean, own = generator.normal(size=(2, n))
        other = correlation * clean + math.sqrt(1 - correlation**2) * own
        return clean.round(digits), (shift + spread * other).round(digits)

    return draw


def tied_scores(generator: Generator, n: int) -> Sample:
    """Scores of four levels, P = 0.4, 0.3, 0.2, 0.1 and the other way round: an AUC of 0.75."""
    levels = [0.4, 0.3, 0.2, 0.1]
    return generator.choice(4, n, p=levels).astype(float), 3 - generator.choice(4, n, p=levels).astype(float)


def separated(generator: Generator, n: int) -> Sample:
    """Scores that a threshold separates."""
    return generator.normal(size=n), generator.normal(50, 1, size=n)


def areas() -> Iterator[Case]:
    """AUCs of images beside their perturbations, and of two groups of images."""
    paired = {
        "AUC 0.5": (0.5, scores(0.5)),
        "AUC 0.8": (0.8, scores(0.8)),
        "AUC 0.8, correlation 0.8": (0.8, scores(0.8, correlation=0.8)),
        "AUC 0.8, correlation −0.5": (0.8, scores(0.8, correlation=-0.5)),
        "AUC 0.97": (0.97, scores(0.97)),
        "AUC 0.995": (0.995, scores(0.995)),
        "four levels": (0.75, tied_scores),
        "separated": (1.0, separated),
    }
    for name, (truth, draw) in paired.items():
        yield Case(
            "AUC, pairs",
            name,
            truth,
            draw,
            partial(auc_interval, paired=True),
            partial(percentile_bootstrap, many_aucs, paired=True),
            bootstrapped=True,
        )
    after, before = (
        partial(auc_interval, paired=False),
        partial(percentile_bootstrap, many_aucs, paired=False),
    )
    for area in (0.8, 0.97):
        draw = partial(_groups, scores(area))
        yield Case("AUC, n and n/2", f"AUC {area}", area, draw, after, before, bootstrapped=True)


def _groups(draw: Callable[..., Sample], generator: Generator, n: int) -> Sample:
    clean, perturbed = draw(generator, n)
    return clean, perturbed[: n // 2]


def rates() -> Iterator[Case]:
    """True-positive rates at 5 % false positives."""
    threshold = float(stats.norm.isf(0.05))
    kinds = {
        "AUC 0.8": (0.8, 1.0, 0.0),
        "AUC 0.8, correlation −0.5": (0.8, 1.0, -0.5),
        "AUC 0.94": (0.94, 1.0, 0.0),
        "AUC 0.99": (0.99, 1.0, 0.0),
        "AUC 0.954, spread 0.1": (0.954, 0.1, 0.0),
    }
    found = {"separated": (1.0, separated)}
    for name, (area, spread, correlation) in kinds.items():
        shift = float(stats.norm.ppf(area)) * math.hypot(1, spread)
        truth = float(stats.norm.sf((threshold - shift) / spread))
        found[name] = (truth, scores(area, spread, correlation))
    for name, (truth, draw) in found.items():
        before, fewest = partial(percentile_bootstrap, many_rates, paired=True), FEWEST_FOR_THRESHOLD
        yield Case("TPR at 5 % FPR", name, truth, draw, tpr_interval, before, fewest, bootstrapped=True)


def others() -> Iterator[Case]:
    """Rank correlations, and differences of accuracies."""
    for rho in (0.0, 0.6, 0.9):
        truth = 6 / math.pi * math.asin(rho / 2)
        draw = scores(0.5, correlation=rho)
        yield Case("rank correlation", f"normal, {rho}", truth, draw, rank_correlation, fieller)

    def both(generator: Generator, n: int, seeds: int = 1) -> Sample:
        # Half of the images are never right, so that the outcomes of two networks agree more than by chance.
        right = generator.random((2 * seeds, n)) < np.where(generator.random(n) < 0.5, 0, 0.8)
        right[seeds:] &= generator.random((seeds, n)) < 0.75
        return right[:seeds], right[seeds:]

    def apart(generator: Generator, n: int) -> Sample:
        return both(generator, n)[0], both(generator, n)[1]

    def paired(a: np.ndarray, b: np.ndarray) -> Ends:
        return _ends(paired_difference(a[0], b[0]))

    def unpaired(a: np.ndarray, b: np.ndarray) -> Ends:
        return _ends(unpaired_difference((int(a.sum()), a.size), (int(b.sum()), b.size)))

    def over_seeds(a: np.ndarray, b: np.ndarray) -> Ends:
        return _ends(mean_difference(a, b))

    three, rates = partial(both, seeds=3), "0.4 and 0.3"
    yield Case("difference, same images", rates, 0.1, both, paired)
    yield Case("difference, other images", rates, 0.1, apart, unpaired)
    yield Case("difference, 3 seeds each", rates, 0.1, three, over_seeds)
    yield Case("accuracy, mean of 3 seeds", "0.4", 0.4, three, lambda right, _: _ends(accuracy_of(right)))


def _ends(found: Any) -> Ends:
    return found.low, found.high


def cases() -> list[Case]:
    """Every simulated case."""
    return [*means(), *areas(), *rates(), *others()]
