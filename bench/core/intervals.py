"""Intervals of means."""

import math

import numpy as np
from scipy import stats


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
