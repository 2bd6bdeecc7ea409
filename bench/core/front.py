"""The Pareto front of settings: which of them no other one beats, and the area below their two accuracies."""

from collections.abc import Sequence

import numpy as np

#: Bootstrap samples of an interval, and images that are added to the sample, right and wrong, each so often.
SAMPLES, ADDED = 2000, 2
_AT_ONCE = 100


def front_of(values: Sequence[Sequence[float]] | np.ndarray) -> list[int]:
    """Indices of the points that no other one matches in every objective and beats in one; equal points both stay.

    Args:
        values: a row for each point, a column for each objective; more is better in all.
    """
    points = np.asarray(values, float)
    return [
        at
        for at, point in enumerate(points)
        if not ((points >= point).all(axis=1) & (points > point).any(axis=1)).any()
    ]


def hypervolume(clean: np.ndarray, robust: np.ndarray) -> np.ndarray:
    """The share of the unit square that lies below and left of at least one point.

    It is 1 where a setting is right on all images, attacked or not, and about 1/K² for one answer to K classes.

    Args:
        clean, robust: accuracies [..., points].

    Returns:
        [...].

    Source: Zitzler & Thiele 1998, with the reference point (0, 0).
    """
    order = np.argsort(-clean, axis=-1)
    x = np.take_along_axis(clean, order, axis=-1)
    height = np.maximum.accumulate(np.take_along_axis(robust, order, axis=-1), axis=-1)
    width = x - np.concatenate([x[..., 1:], np.zeros_like(x[..., :1])], axis=-1)
    area: np.ndarray = (width * height).sum(axis=-1)
    return area


def hypervolume_interval(
    clean: np.ndarray, robust: np.ndarray, generator: np.random.Generator, confidence: float = 0.95
) -> tuple[float, float]:
    """A bootstrap interval of the hypervolume of given settings, for the choice of images.

    Images are drawn again with their outcomes under every setting, since all settings met the same images. Two that
    all settings get right and two that all get wrong are added first, as Agresti and Coull do for a share, so that
    accuracies of 0 and 1 have an interval too. The interval is that between percentiles, extended to the value.

    Args:
        clean: bool [n, settings], whether an image is classified correctly.
        robust: bool [m, settings], m ≤ n, whether the first m images are under attack.
        generator: draws the samples.

    Raises:
        ValueError: when there is no attacked image, or more of them than images.
    """
    if not 0 < len(robust) <= len(clean):
        raise ValueError(f"expected 1 to {len(clean)} attacked images, got {len(robust)}")
    added = np.repeat([[True], [False]], ADDED, axis=0) & np.ones((1, clean.shape[1]), bool)
    first, rest = clean[: len(robust)], clean[len(robust) :]
    right = np.concatenate([added, first, rest]).astype(np.float32)
    held = np.concatenate([added, robust]).astype(np.float32)
    found = []
    for start in range(0, SAMPLES, _AT_ONCE):
        times = generator.multinomial(
            len(right), np.full(len(right), 1 / len(right)), min(_AT_ONCE, SAMPLES - start)
        ).astype(np.float32)
        attacked = times[:, : len(held)]
        met = np.maximum(attacked.sum(axis=1, keepdims=True), 1)
        found.append(hypervolume(times @ right / len(right), attacked @ held / met))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(np.concatenate(found), [tail, 100 - tail])
    value = float(hypervolume(clean.mean(axis=0), robust.mean(axis=0)))
    return min(float(low), value), max(float(high), value)
