"""95 % intervals of a proportion, a mean and a rank correlation.

Their true coverage by sample size and distribution is measured by `benchmarks/coverage`.
"""

import math

import numpy as np
from scipy import stats

#: At so many successes or failures Wilson's interval is corrected.
FEW = 3


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a proportion.

    Raises:
        ValueError: when n is zero or successes lie outside 0 … n.
    """
    interval = stats.binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def proportion_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion, wider where 1 to 3 of n are successes, or failures.

    Wilson's alone covers a share of about 0.18/n, or of that much below 1, in only 84 % of samples: a single
    success puts its lower end above the share. There the end is that of a Poisson count instead,
    χ²(1 − confidence; 2·successes)/(2n).

    Raises:
        ValueError: when n is zero or successes lie outside 0 … n.

    Source: Brown, Cai & DasGupta 2001, Statistical Science 16, 101–133, section 4.1.1.
    """
    low, high = wilson(successes, n, confidence)
    if 1 <= successes <= FEW:
        low = min(low, _poisson_end(successes, n, confidence))
    if 1 <= n - successes <= FEW:
        high = max(high, 1 - _poisson_end(n - successes, n, confidence))
    return low, high


def _poisson_end(count: int, n: int, confidence: float) -> float:
    return float(stats.chi2.ppf(1 - confidence, 2 * count) / (2 * n))


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval of a mean, extended where the values are skewed; both ends are the value when n is 1.

    Student's interval is mean ± t·e with e = s/√n. Of skewed values, the statistic (mean − μ)/e is skewed the other
    way. Hall's cubic g(T) = T + aT²/3 + a²T³/27 + a/6, a being their skewness divided by √n, removes that to second
    order, and gives the ends mean − e·g⁻¹(±t). Each end returned is the farther of the two. Of fewer than about 40
    strongly skewed values, it covers less than it says.

    Args:
        values: [n], independent.

    Raises:
        ValueError: when there is no value.

    Source: Hall 1992, On the removal of skewness by transformation, Journal of the Royal Statistical Society B 54,
    221–228.
    """
    values = np.asarray(values, float)
    if values.ndim != 1 or len(values) == 0:
        raise ValueError(f"expected values [n], n at least 1, got shape {values.shape}")
    mean, n = float(values.mean()), len(values)
    if n == 1:
        return mean, mean
    spread = float(values.std(ddof=1))
    error, t = spread / math.sqrt(n), float(stats.t.ppf((1 + confidence) / 2, n - 1))
    a = 0.0
    if n > 2 and spread > 0:
        a = float(n / ((n - 1) * (n - 2)) * (((values - mean) / spread) ** 3).sum()) / math.sqrt(n)

    def inverse(quantile: float) -> float:
        # g is ((1 + aT/3)³ − 1)/a + a/6; this form of its inverse also holds at a = 0.
        above = quantile - a / 6
        root = float(np.cbrt(1 + a * above))
        return 3 * above / (root * root + root + 1)

    return mean - error * max(t, inverse(t)), mean + error * max(t, -inverse(-t))


def rank_correlation_interval(r: float, n: int) -> tuple[float, float]:
    """95 % interval of Spearman's correlation: tanh(atanh r ± 1.96·√((1 + r²/2)/(n − 3))).

    Args:
        r: strictly between −1 and 1; at these ends the interval would have no width whatever n is.
        n: at least 4.

    Source: Bonett & Wright 2000, Psychometrika 65, 23–28.
    """
    center, reach = math.atanh(r), 1.96 * math.sqrt((1 + r * r / 2) / (n - 3))
    return math.tanh(center - reach), math.tanh(center + reach)
