"""Ranks that are shared where the test images cannot tell two entries apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.core.statistics import mcnemar, wilson
from leaderboards.entry import Entry, Summary

LEVEL = 0.05


@dataclass(frozen=True)
class Rank:
    """The place of an entry.

    Attributes:
        place: 1 for the leading group; None without a worst-case accuracy.
        shared: whether another entry has the same place.
        method: how the entry was compared with the leader of its group; "" for a leader.
        p_value: of the paired test against that leader.
    """

    place: int | None
    shared: bool = False
    method: Literal["paired", "intervals", ""] = ""
    p_value: float | None = None


def order(entries: Sequence[Entry]) -> list[Entry]:
    """Entries by worst-case accuracy, best first; those without one come last, then clean accuracy and name."""

    def key(entry: Entry) -> tuple[bool, float, float, str]:
        worst = entry.worst_case.mean if entry.worst_case else None
        clean = entry.scores["clean_accuracy"].mean if "clean_accuracy" in entry.scores else None
        return worst is None, -(worst or 0.0), -(clean or 0.0), entry.page

    return sorted(entries, key=key)


def rank(entries: Sequence[Entry]) -> list[Rank]:
    """Walk down the sorted entries; each shares its group leader's place unless it is separable from it.

    Separable means p < 0.05 in the paired test on the common test images (`paired_p_value`; the exact
    McNemar test when both have one seed). Where per-image outcomes are missing, it means that the 95 %
    intervals do not overlap, which is the stricter demand, so such entries share more places. The places
    after a shared one are left out: 1, 1, 3.

    Args:
        entries: of one board, as `order` sorts them.
    """
    ranks: list[Rank] = []
    leader = 0
    for at, entry in enumerate(entries):
        if entry.worst_case is None:
            ranks.append(Rank(None))
            continue
        method, p_value, separable = _compare(entries[leader], entry)
        if at == 0 or separable:
            leader = at
            ranks.append(Rank(at + 1))
        else:
            ranks.append(Rank(leader + 1, True, method, p_value))
            ranks[leader] = Rank(leader + 1, True)
    return ranks


def paired_p_value(first: np.ndarray, second: np.ndarray) -> float:
    """Two-sided exact p-value of a paired sign-flip test with the test image as its unit.

    With d_i = (share of the first entry's seeds right on image i) − (the second's), the null hypothesis
    lets every d_i change its sign; p = P(|Σ ±d_i| ≥ |Σ d_i|). For one seed each, this is the exact McNemar
    test. Over several seeds it compares mean accuracies and does not take the seeds of one image for
    independent observations, which stacking them in McNemar's table would.

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


def _compare(leader: Entry, entry: Entry) -> tuple[Literal["paired", "intervals"], float | None, bool]:
    if leader.outcomes is not None and entry.outcomes is not None:
        p_value = paired_p_value(leader.outcomes, entry.outcomes)
        return "paired", p_value, p_value < LEVEL
    above, below = _interval(leader.worst_case), _interval(entry.worst_case)
    return "intervals", None, above[0] > below[1]


def _interval(score: Summary | None) -> tuple[float, float]:
    """The score's interval, Wilson's where it has none, everything where that is not possible either."""
    if score is not None and score.low is not None and score.high is not None:
        return score.low, score.high
    if score is not None and score.mean is not None and score.n and 0 <= score.mean <= 1:
        return wilson(round(score.mean * score.n), score.n)
    return 0.0, 1.0
