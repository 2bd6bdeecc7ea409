"""Differences, paired tests and scores.

Ours are what no library has: Newcombe's interval for paired accuracies, and the exact sign-flip test over several
seeds. McNemar's test is one line of scipy's, as that of statsmodels takes seconds to import.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from bench.core.intervals import mean_interval, proportion_interval, wilson
from bench.core.record import Score

#: Values whose spread, relative to the largest, stays below this differ by rounding alone.
_ALIKE = 1e-12
#: The interval of a mean of fewer values covers noticeably less than 95 % where they are strongly skewed.
_FEW = 40


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact p-value of McNemar's test for two classifiers on the same examples.

    Of the examples on which only one is right, either is as likely to be it: p = min(1, 2·P(K ≤ k)), where k counts
    those of the one that has fewer, and K is binomial with all of them and 1/2.

    Args:
        first, second: bool [n], whether each classifier was right on each example.

    Raises:
        ValueError: when the arrays have different lengths.
    """
    first, second = np.asarray(first, bool), np.asarray(second, bool)
    if first.shape != second.shape:
        raise ValueError(f"paired test needs the same examples, got {first.shape} and {second.shape}")
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    tail = stats.binom.cdf(min(only_first, only_second), only_first + only_second, 0.5)
    return min(2 * float(tail), 1.0)


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

    That of the mean of the examples' d_i = (share of the first's seeds right on i) − (the second's): the trained
    seeds are taken as given, the examples as a sample. Where all d_i are equal, it is as wide as if it were unknown
    whether a further example differs: by the interval of 0 in n.

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
    if np.ptp(differences) <= _ALIKE:
        reach = proportion_interval(0, n, confidence)[1]
        low, high = value - reach, value + reach
    else:
        low, high = mean_interval(differences, confidence)
    return Difference(value, max(-1.0, low), min(1.0, high))


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


def welch_p_value(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Two-sided p-value of Welch's t-test whose unit is the training.

    Args:
        first, second: a score of each training of either side.

    Returns:
        None for fewer than two trainings of a side, and where those of neither differ.
    """
    if min(len(first), len(second)) < 2 or np.ptp(first) == 0 == np.ptp(second):
        return None
    return float(stats.ttest_ind(first, second, equal_var=False).pvalue)


def paired_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact p-value of a paired sign-flip test whose unit is the test image.

    With d_i = (share of the first entry's seeds right on image i) − (the second's), under the null hypothesis every
    d_i is as likely to have the other sign; p = P(|Σ ±d_i| ≥ |Σ d_i|). For one seed each, this is McNemar's exact
    test. Over several seeds it compares mean accuracies, and the seeds of one image do not count as independent
    observations, as they would if stacked in McNemar's table. `scipy.stats.permutation_test` samples this
    distribution; here it is exact at any n.

    Args:
        first, second: bool [seeds, n], whether each seed was right on each image.

    Raises:
        ValueError: when the numbers of images differ.
    """
    first, second = np.atleast_2d(first), np.atleast_2d(second)
    if first.shape[1] != second.shape[1]:
        raise ValueError(f"paired test needs the same images, got {first.shape[1]} and {second.shape[1]}")
    if len(first) == len(second) == 1:
        return mcnemar(first[0], second[0])
    # In units of 1 / (seeds · seeds) every difference is a whole number.
    difference = first.sum(axis=0) * len(second) - second.sum(axis=0) * len(first)
    difference //= max(int(np.gcd.reduce(difference)), 1)
    sizes, counts = np.unique(np.abs(difference[difference != 0]), return_counts=True)
    furthest = int((sizes * counts).sum())
    if furthest == 0:
        return 1.0
    # Σ ±d_i has the characteristic function Π cos(d_i·θ); its Fourier transform is the exact distribution.
    angles = 2 * np.pi * np.arange(2 * furthest + 1) / (2 * furthest + 1)
    characteristic = np.prod(
        [np.cos(size * angles) ** n for size, n in zip(sizes, counts, strict=True)], axis=0
    )
    probability = np.fft.fft(characteristic).real / len(angles)
    sums = np.minimum(np.arange(len(angles)), len(angles) - np.arange(len(angles)))
    return float(np.clip(probability[sums >= abs(int(difference.sum()))].sum(), 0.0, 1.0))


_NOTHING = "no example to measure on"


def mean_score(
    values: np.ndarray, *, unit: str, reason: str = "", bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Score:
    """The mean of independent values [n] with its interval, clipped to the bounds; a single value has none.

    The interval is that of `mean_interval`; of fewer than 40 values, the reason calls it approximate. It follows
    from the spread of the values. Equal values have none, so they get no interval, and the reason says so. For how
    often something happens, use `proportion_interval`, not a mean of zeros and ones.

    Args:
        values: float [n]; those that are not finite are left out.
        unit, reason: as a score holds them.
        bounds: smallest and largest value possible.
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if len(finite) == 0:
        return Score(value=None, n=0, unit=unit, reason=reason or _NOTHING)
    alike = len(finite) > 1 and np.ptp(finite) <= _ALIKE * np.abs(finite).max()
    low, high = mean_interval(finite) if len(finite) > 1 and not alike else (None, None)
    notes = [reason] if reason else []
    if alike:
        notes.append(f"all {len(finite)} values are equal: no interval")
    elif 1 < len(finite) < _FEW:
        notes.append(f"n = {len(finite)}: the interval is approximate")
    if low is not None and high is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Score(
        value=float(finite.mean()), low=low, high=high, n=len(finite), unit=unit, reason="; ".join(notes)
    )


def median_score(values: np.ndarray, *, unit: str, reason: str = "", infinite: str) -> Score:
    """The median of independent values [n] with the exact interval between two order statistics.

    Fewer than 6 values have no such interval, and an infinite end is left out. The interval of equal values has no
    width, which is correct: all n values lie on one side of any other median with probability 2^(1 − n).

    Args:
        values: float [n] without NaN; infinite ones are large (or small) values like others.
        unit, reason: as a score holds them.
        infinite: the reason when the median itself is not finite.
    """
    values = np.sort(np.asarray(values, np.float64))
    if len(values) == 0:
        return Score(value=None, n=0, unit=unit, reason=reason or _NOTHING)
    # numpy's median is NaN between −∞ and ∞.
    middle = values[(len(values) - 1) // 2], values[len(values) // 2]
    if not np.isfinite(middle).all():
        return Score(
            value=None, n=len(values), unit=unit, reason=f"{infinite}; {reason}" if reason else infinite
        )
    ends = stats.quantile_test(values, q=0, p=0.5).confidence_interval()
    low, high = (float(end) if np.isfinite(end) else None for end in ends)
    return Score(value=float(np.mean(middle)), low=low, high=high, n=len(values), unit=unit, reason=reason)
