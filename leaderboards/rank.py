"""Ranks that are shared where the test images do not separate two entries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.core.intervals import proportion_interval
from bench.core.names import CLEAN_ACCURACY
from bench.core.statistics import paired_p_value
from leaderboards.entry import Entry, Summary

LEVEL = 0.05


@dataclass(frozen=True)
class Rank:
    """The place of an entry.

    Attributes:
        place: 1 for the leading group; None without a worst-case accuracy, and for an entry in doubt.
        shared: whether another entry has the same place.
        method: how the entry was compared with the leader of its group; "" for a leader.
        p_value: of the paired test against that leader.
        in_doubt: whether it has no place because a raised alarm has no answer.
    """

    place: int | None
    shared: bool = False
    method: Literal["paired", "intervals", ""] = ""
    p_value: float | None = None
    in_doubt: bool = False


def order(entries: Sequence[Entry]) -> list[Entry]:
    """Entries by worst-case accuracy, best first, then clean accuracy and name.

    Those in doubt come after all others that have a worst case; those without one come last.
    """

    def key(entry: Entry) -> tuple[bool, bool, float, float, str]:
        worst = entry.worst_case.mean if entry.worst_case else None
        clean = entry.scores[CLEAN_ACCURACY].mean if CLEAN_ACCURACY in entry.scores else None
        return worst is None, entry.in_doubt, -(worst or 0.0), -(clean or 0.0), entry.page

    return sorted(entries, key=key)


def rank(entries: Sequence[Entry]) -> list[Rank]:
    """Walk down the sorted entries; each shares its group leader's place unless it is separable from it.

    Separable means p < 0.05 in the paired test on the common test images (`paired_p_value`; the exact
    McNemar test when both have one seed). Where per-image outcomes are missing, it means that the 95 %
    intervals do not overlap, which is the stricter demand, so such entries share more places. The places
    after a shared one are left out: 1, 1, 3. An entry in doubt has no place.

    Args:
        entries: of one board, as `order` sorts them.
    """
    ranks: list[Rank] = []
    leader = 0
    for at, entry in enumerate(entries):
        if entry.worst_case is None:
            ranks.append(Rank(None))
            continue
        if entry.in_doubt:
            ranks.append(Rank(None, in_doubt=True))
            continue
        method, p_value, separable = _compare(entries[leader], entry)
        if at == 0 or separable:
            leader = at
            ranks.append(Rank(at + 1))
        else:
            ranks.append(Rank(leader + 1, True, method, p_value))
            ranks[leader] = Rank(leader + 1, True)
    return ranks


def _compare(leader: Entry, entry: Entry) -> tuple[Literal["paired", "intervals"], float | None, bool]:
    if leader.outcomes is not None and entry.outcomes is not None:
        p_value = paired_p_value(leader.outcomes, entry.outcomes)
        return "paired", p_value, p_value < LEVEL
    above, below = _interval(leader.worst_case), _interval(entry.worst_case)
    return "intervals", None, above[0] > below[1]


def _interval(score: Summary | None) -> tuple[float, float]:
    """The score's interval; without one, that of a proportion; where that cannot be computed either, [0, 1]."""
    if score is not None and score.low is not None and score.high is not None:
        return score.low, score.high
    if score is not None and score.mean is not None and score.n and 0 <= score.mean <= 1:
        return proportion_interval(round(score.mean * score.n), score.n)
    return 0.0, 1.0
