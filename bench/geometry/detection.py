"""How well a score separates perturbed images from clean ones; a larger score means perturbed."""

import math

import numpy as np
from scipy import stats
from scipy.special import expit

from bench.core.intervals import proportion_interval

#: The smallest number of pairs on which a detector is judged.
FEWEST = 10
#: The smallest number of clean images whose largest score 5 % of further ones exceed at most.
FEWEST_FOR_THRESHOLD = 19


def auc(clean: np.ndarray, perturbed: np.ndarray) -> float:
    """Area under the ROC curve: Mann and Whitney's U divided by the number of pairs."""
    u = stats.mannwhitneyu(perturbed, clean, method="asymptotic").statistic
    return float(u / (len(clean) * len(perturbed)))


def tpr_at_5fpr(clean: np.ndarray, perturbed: np.ndarray) -> float:
    """True-positive rate at a threshold that flags at most 5 % of further clean images, on average.

    The threshold is the k-th largest of the n clean scores, k = ⌊0.05·(n + 1)⌋: a further clean score is above it
    with probability k/(n + 1), or less where scores are equal. That errs on the safe side: the estimate is too low
    on average where the ROC curve is concave, by .025 at n = 40 for normal scores with an AUC of .8. The threshold
    that flags 5 % of these n scores would flag more of further ones, 7.3 % at n = 40.

    Args:
        clean, perturbed: scores [m], at least `FEWEST_FOR_THRESHOLD`, and [n].

    Raises:
        ValueError: for fewer clean scores.

    Source: Vovk, Gammerman & Shafer 2005, Algorithmic Learning in a Random World (split conformal prediction).
    """
    if len(clean) < FEWEST_FOR_THRESHOLD:
        raise ValueError(f"expected at least {FEWEST_FOR_THRESHOLD} clean scores, got {len(clean)}")
    return float((perturbed > np.sort(clean)[-((len(clean) + 1) // 20)]).mean())


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


def auc_interval(clean: np.ndarray, perturbed: np.ndarray, *, paired: bool) -> tuple[float, float]:
    """95 % interval of the AUC: DeLong's variance on the logit scale, Student's t for the number of images.

    DeLong's variance is that of the means of two placements: for each perturbed score the share of clean scores
    below it, for each clean score the share of perturbed ones above it. Where the two scores of an image are
    paired, so are its placements, and their sum counts. An AUC of 0 or 1, or placements that are all equal, show no
    variance, as if no further image could differ: there the interval is that of a share of n images, n being the
    size of the smaller group. The variance of an AUC is at most that of a share (Birnbaum & Klose 1957).

    Args:
        clean, perturbed: scores [m] and [n], at least 2 of each.
        paired: whether clean[i] and perturbed[i] are of the same image; otherwise the groups are independent.

    Source: DeLong, DeLong & Clarke-Pearson 1988, Biometrics 44, 837–845; for pairs Obuchowski 1997, Biometrics 53,
    567–578.
    """
    m, n = len(clean), len(perturbed)
    # Counts, in halves: a tie counts one half.
    below, above = _below(clean, perturbed), 2 * n - _below(perturbed, clean)
    value = float(below.sum() / (2 * m * n))
    parts = [(below + above) / (2 * n)] if paired else [below / (2 * m), above / (2 * n)]
    variance = sum(float(part.var(ddof=1)) / len(part) for part in parts)
    images = min(m, n)
    if not 0 < value < 1 or all(np.ptp(part) == 0 for part in parts):
        successes = round(value * images, 9)
        low = proportion_interval(math.floor(successes), images)[0]
        return low, proportion_interval(math.ceil(successes), images)[1]
    logit, t = math.log(value / (1 - value)), float(stats.t.ppf(0.975, images - 1))
    reach = t * math.sqrt(variance) / (value * (1 - value))
    return float(expit(logit - reach)), float(expit(logit + reach))


def _below(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """For each of the others, twice the number of scores below it plus the number of equal ones."""
    ranked = np.sort(scores)
    return np.searchsorted(ranked, others, "left") + np.searchsorted(ranked, others, "right")


def tpr_interval(clean: np.ndarray, perturbed: np.ndarray) -> tuple[float, float]:
    """95 % interval of the true-positive rate at a false-positive rate of 5 %.

    Two errors are added in squares: that of the rate at the given threshold, by the interval of a share of n
    images, and that of the threshold. The number of clean scores above the true threshold is binomial, so the
    threshold lies between two order statistics of the clean scores with 95 %; the rates there bound its error.
    Fewer than 72 clean scores do not bound the threshold from above, and the interval begins at 0.

    Args:
        clean, perturbed: scores [m], at least `FEWEST_FOR_THRESHOLD`, and [n]; they may be paired.

    Source: Zou & Donner 2008, Statistics in Medicine 27, 1693–1702, for adding in squares.
    """
    value, n = tpr_at_5fpr(clean, perturbed), len(perturbed)
    fewest, most = (int(end) for end in stats.binom(len(clean), 0.05).interval(0.95))
    falling = np.sort(clean)[::-1]
    lowest = float((perturbed >= falling[fewest - 1]).mean()) if fewest else 0.0
    highest = float((perturbed > falling[most]).mean())
    low, high = proportion_interval(round(value * n), n)
    return (
        max(0.0, value - math.hypot(value - low, value - min(lowest, value))),
        min(1.0, value + math.hypot(high - value, max(highest, value) - value)),
    )


def bounds_threshold(n: int) -> bool:
    """Whether n clean scores bound the threshold of 5 % false positives from above; see `tpr_interval`."""
    return bool(stats.binom(n, 0.05).interval(0.95)[0] > 0)
