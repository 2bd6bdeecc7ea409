"""The intervals of battery version 2, where they were others."""

import math
from collections.abc import Callable

import numpy as np
from scipy import stats

from bench.core.intervals import wilson

#: An interval; None where a sample has none.
Ends = tuple[float, float] | None


def student(values: np.ndarray) -> Ends:
    """Student's interval of a mean, that of version 2."""
    if np.ptp(values) == 0:
        return None
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return float(found.low), float(found.high)


def percentile_bootstrap(statistic: Callable[..., np.ndarray], *samples: np.ndarray, paired: bool) -> Ends:
    """The percentile bootstrap of version 2, with Wilson's interval where it has no width."""
    generator = np.random.default_rng(0)
    rows = [generator.integers(len(each), size=(1000, len(each))) for each in samples]
    rows = [rows[0]] * len(samples) if paired else rows
    resampled = statistic(*[each[row] for each, row in zip(samples, rows, strict=True)])
    low, high = np.quantile(resampled, (0.025, 0.975))
    value, n = float(statistic(*[each[None] for each in samples])[0]), min(map(len, samples))
    if 0 < value < 1 and low < high:
        return float(low), float(high)
    successes = round(value * n, 9)
    return min(low, wilson(math.floor(successes), n)[0]), max(high, wilson(math.ceil(successes), n)[1])


def many_aucs(clean: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """The AUC of each row."""
    m, n = clean.shape[1], perturbed.shape[1]
    ranks = stats.rankdata(np.concatenate([clean, perturbed], axis=1), axis=1)[:, m:].sum(axis=1)
    return (ranks - n * (n + 1) / 2) / (m * n)


def many_rates(clean: np.ndarray, perturbed: np.ndarray) -> np.ndarray:
    """The true-positive rate of each row as version 2 had it: at most 5 % of the same clean scores are flagged."""
    threshold = np.sort(clean, axis=1)[:, [-1 - math.floor(0.05 * clean.shape[1])]]
    return (perturbed > threshold).mean(axis=1)


def fieller(first: np.ndarray, second: np.ndarray) -> Ends:
    """The interval of Spearman's correlation in version 2 (Fieller, Hartley & Pearson 1957)."""
    r = float(stats.spearmanr(first, second).statistic)
    reach = 1.96 * math.sqrt(1.06 / (len(first) - 3))
    return (
        (math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach)) if abs(r) < 1 - 1e-12 else None
    )
