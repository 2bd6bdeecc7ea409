"""Intervals, differences and paired tests."""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion.

    Raises:
        ValueError: when n is zero or successes lie outside 0 … n.
    """
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Mean ± t·s/√n of independent values [n], s with n − 1; both ends are the value itself when n is 1.

    Raises:
        ValueError: when there is no value.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected values [n], n at least 1, got shape {values.shape}")
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return mean, mean
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return mean - reach, mean + reach


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact McNemar p-value for two classifiers on the same examples.

    Args:
        first, second: bool [n], whether each classifier was right on each example.

    Raises:
        ValueError: when the arrays have different lengths.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape:
        raise ValueError(f"paired test needs the same examples, got {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(stats.binomtest(only_first, only_first + only_second, 0.5).pvalue)


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies, first minus second, with its 95 % interval."""

    value: float
    low: float
    high: float


def paired_difference(first: np.ndarray, second: np.ndarray, confidence: float = 0.95) -> Difference:
    """Difference of two accuracies on the same examples, with Newcombe's interval for paired data.

    D − √(δ₁² − 2φδ₁ε₂ + ε₂²) to D + √(ε₁² − 2φε₁δ₂ + δ₂²), where the Wilson interval of each accuracy reaches
    δ below and ε above it, and φ is the correlation of the two outcomes, its numerator ad − bc drawn towards
    zero by n/2 where it is positive.

    Args:
        first, second: bool [n], whether each classifier was right on each example.

    Raises:
        ValueError: when there is no example, or the arrays have different lengths.

    Source: Newcombe 1998, Statistics in Medicine 17, 2635–2650, method 10.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape or first.ndim != 1 or len(first) == 0:
        raise ValueError(f"paired data need the same examples, got {first.shape} and {second.shape}")
    n = len(first)
    both, neither = int((first & second).sum()), int((~first & ~second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    numerator = float(both * neither - only_first * only_second)
    if numerator > 0:
        numerator = max(numerator - n / 2, 0.0)
    right, other = both + only_first, both + only_second
    margins = math.sqrt(right) * math.sqrt(n - right) * math.sqrt(other) * math.sqrt(n - other)
    correlation = numerator / margins if margins else 0.0
    return _square_and_add((right, n), (other, n), correlation, confidence)


def unpaired_difference(
    first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95
) -> Difference:
    """Difference of two accuracies on independent examples, with Newcombe's hybrid score interval.

    Args:
        first, second: successes and examples of each.

    Raises:
        ValueError: when there is no example, or more successes than examples.

    Source: Newcombe 1998, Statistics in Medicine 17, 873–890, method 10.
    """
    return _square_and_add(first, second, 0.0, confidence)


def mean_difference(first: np.ndarray, second: np.ndarray, confidence: float = 0.95) -> Difference:
    """Difference of two mean accuracies over training seeds, on the same examples.

    d̄ ± t·s/√n over the examples' d_i = (share of the first's seeds right on i) − (the second's): the seeds
    that were trained are taken as they are, and the examples as a sample.

    Args:
        first, second: bool [seeds, n], the numbers of seeds may differ.

    Raises:
        ValueError: when there are fewer than two examples, or not the same number.
    """
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    n = first.shape[1]
    if n != second.shape[1] or n < 2:
        raise ValueError(f"paired data need the same examples, got {n} and {second.shape[1]}")
    differences = first.mean(axis=0) - second.mean(axis=0)
    value = float(differences.mean())
    reach = float(stats.t.ppf((1 + confidence) / 2, n - 1) * differences.std(ddof=1) / math.sqrt(n))
    return Difference(value, max(-1.0, value - reach), min(1.0, value + reach))


def _square_and_add(
    first: tuple[int, int], second: tuple[int, int], correlation: float, confidence: float
) -> Difference:
    p1, p2 = first[0] / first[1], second[0] / second[1]
    low1, high1 = wilson(*first, confidence)
    low2, high2 = wilson(*second, confidence)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(a * a - 2 * correlation * a * b + b * b, 0.0))

    value = p1 - p2
    return Difference(value, value - reach(p1 - low1, high2 - p2), value + reach(high1 - p1, p2 - low2))
