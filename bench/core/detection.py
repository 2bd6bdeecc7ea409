"""How well a score tells perturbed images from clean ones; larger means perturbed."""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import bootstrap, mannwhitneyu

#: Fewer pairs say nothing about a detector.
FEWEST = 10


def auc(clean: np.ndarray, perturbed: np.ndarray, axis: int = -1) -> np.ndarray:
    """Area under the ROC curve: Mann and Whitney's U over the number of pairs, along an axis."""
    u = mannwhitneyu(perturbed, clean, axis=axis, method="asymptotic").statistic
    return u / (clean.shape[axis] * perturbed.shape[axis])


def tpr_at_5fpr(clean: np.ndarray, perturbed: np.ndarray, axis: int = -1) -> np.ndarray:
    """True-positive rate at the lowest threshold that flags at most 5 % of the clean scores, along an axis."""
    allowed = math.floor(0.05 * clean.shape[axis])
    largest_unflagged = np.sort(clean, axis=axis).take([-1 - allowed], axis=axis)
    return (perturbed > largest_unflagged).mean(axis=axis)


def calibrated_side(clean: np.ndarray, perturbed: np.ndarray) -> float:
    """+1 where larger scores mean perturbed on these images, −1 where smaller ones do."""
    return 1.0 if auc(clean, perturbed) >= 0.5 else -1.0


def roc(clean: np.ndarray, perturbed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """False and true positive rates [t], both rising from 0 to 1, for every threshold that tells scores apart."""
    thresholds = np.concatenate([[np.inf], np.unique(np.concatenate([clean, perturbed]))[::-1]])
    return (
        np.array([np.mean(clean >= threshold) for threshold in thresholds]),
        np.array([np.mean(perturbed >= threshold) for threshold in thresholds]),
    )


def paired_interval(
    statistic: Callable[..., np.ndarray], clean: np.ndarray, perturbed: np.ndarray
) -> tuple[float, float]:
    """95 % percentile bootstrap over images: a clean one and its perturbed one are drawn together."""
    result = bootstrap(
        (clean, perturbed),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=1000,
        method="percentile",
        random_state=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)
