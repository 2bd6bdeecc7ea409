"""Scores from values of single images: means and medians with their intervals."""

import math

import numpy as np
from scipy import stats

from bench.core.record import Score
from bench.core.statistics import mean_interval

_NOTHING = "no example to measure on"
#: Spread of values, over the largest, that is rounding and no spread.
_ALIKE = 1e-12


def mean_score(
    values: np.ndarray, *, unit: str, reason: str = "", bounds: tuple[float, float] = (-math.inf, math.inf)
) -> Score:
    """The mean of independent values [n] with its t interval, cut to the bounds; none for a single value.

    The spread is that of the values alone, so equal ones tell of none: there is no interval then, and the reason
    says so. How often something happens is a share, with Wilson's interval, and not a mean of zeros and ones.

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
    if alike:
        equal = f"all {len(finite)} values are equal: no interval"
        reason = f"{reason}; {equal}" if reason else equal
    if low is not None and high is not None:
        low, high = max(low, bounds[0]), min(high, bounds[1])
    return Score(value=float(finite.mean()), low=low, high=high, n=len(finite), unit=unit, reason=reason)


def median_score(values: np.ndarray, *, unit: str, reason: str = "", infinite: str) -> Score:
    """The median of independent values [n] with the exact interval between two order statistics.

    Fewer than 6 values have no such interval, and an end that is infinite is left out. Equal values have one
    without width, which holds: all n values lie on one side of another median with probability 2^(1 − n).

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
