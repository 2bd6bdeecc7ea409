"""How well a score separates perturbed images from clean ones; a larger score means perturbed."""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap, mannwhitneyu

from bench.core.statistics import wilson

#: The smallest number of pairs on which a detector is judged.
FEWEST = 10


def auc(clean: np.ndarray, perturbed: np.ndarray, axis: int = -1) -> np.ndarray:
    """Area under the ROC curve: Mann and Whitney's U divided by the number of pairs, along an axis."""
    u = mannwhitneyu(perturbed, clean, axis=axis, method="asymptotic").statistic
    return u / (clean.shape[axis] * perturbed.shape[axis])


def tpr_at_5fpr(clean: np.ndarray, perturbed: np.ndarray, axis: int = -1) -> np.ndarray:
    """True-positive rate at the lowest threshold that flags at most 5 % of the clean scores, along an axis."""
    allowed = math.floor(0.05 * clean.shape[axis])
    largest_unflagged = np.sort(clean, axis=axis).take([-1 - allowed], axis=axis)
    return (perturbed > largest_unflagged).mean(axis=axis)


def calibrated_side(clean: np.ndarray, perturbed: np.ndarray) -> float:
    """+1 if larger scores mean perturbed on these images, −1 if smaller ones do."""
    return 1.0 if auc(clean, perturbed) >= 0.5 else -1.0


def roc(clean: np.ndarray, perturbed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates [t], both rising from 0 to 1, at every threshold that separates two scores."""
    from sklearn.metrics import roc_curve

    labels = np.repeat([0, 1], [len(clean), len(perturbed)])
    scores = np.concatenate([clean, perturbed])
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    return false, true


def paired_interval(
    statistic: Callable[..., np.ndarray], clean: np.ndarray, perturbed: np.ndarray
) -> tuple[float, float]:
    """95 % percentile bootstrap over images: a clean image and its perturbed image are drawn together.

    It is widened by Wilson's interval where resampling cannot show the uncertainty; see `_widened`.
    """
    return _interval(statistic, clean, perturbed, paired=True)


def unpaired_interval(
    statistic: Callable[..., np.ndarray], clean: np.ndarray, perturbed: np.ndarray
) -> tuple[float, float]:
    """As `paired_interval`, for two groups of at least 2 images [m] and [n], each resampled independently."""
    return _interval(statistic, clean, perturbed, paired=False, batch=100)


def _interval(
    statistic: Callable[..., np.ndarray],
    clean: np.ndarray,
    perturbed: np.ndarray,
    *,
    paired: bool,
    batch: int | None = None,
) -> tuple[float, float]:
    result = bootstrap(
        (clean, perturbed),
        statistic,
        paired=paired,
        vectorized=True,
        n_resamples=1000,
        batch=batch,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    low, high = (float(end) for end in result.confidence_interval)
    return _widened(low, high, float(statistic(clean, perturbed)), min(len(clean), len(perturbed)))


def _widened(low: float, high: float, value: float, n: int) -> tuple[float, float]:
    """The hull of a bootstrap interval and Wilson's at n, where the value is 0 or 1 or the interval has no width.

    In these cases (a share of 0, an AUC of 1, an AUC of 0.5 because all scores are equal) every resample gives the
    same value, as if no further image could differ. The variance of an AUC is at most that of a share of n images,
    n being the size of the smaller group, so Wilson's interval is valid for both. In all other cases the bootstrap
    interval is returned unchanged.

    Source: Birnbaum & Klose 1957, Bounds for the variance of the Mann-Whitney statistic (independent groups).
    """
    if 0 < value < 1 and low < high:
        return low, high
    successes = round(value * n, 9)
    return (
        min(low, wilson(math.floor(successes), n)[0]),
        max(high, wilson(math.ceil(successes), n)[1], value),
    )
