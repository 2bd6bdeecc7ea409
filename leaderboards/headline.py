"""What a board says in a few words: its best entry, whether its lead is real, and whether to believe it."""

from dataclasses import dataclass

import numpy as np

from bench.core.statistics import (
    Difference,
    mean_difference,
    paired_difference,
    paired_p_value,
    welch_p_value,
)
from leaderboards.board import Board
from leaderboards.entry import Entry
from leaderboards.rank import LEVEL, Rank


@dataclass(frozen=True)
class Lead:
    """The best entry against the next one.

    Attributes:
        difference: of the worst cases; None without outcomes of both.
        p_value: of the paired test; None without outcomes of both.
        real: whether the test images separate the two.
        over_trainings: p-value of Welch's test whose unit is the training; None where there are too few.
    """

    other: Entry
    difference: Difference | None
    p_value: float | None
    real: bool
    over_trainings: float | None = None

    @property
    def lasting(self) -> bool:
        """Whether trainings separate the two as well, so that other ones should too."""
        return self.real and self.over_trainings is not None and self.over_trainings < LEVEL


@dataclass(frozen=True)
class Headline:
    """The first row of a board, its rank and its lead; no lead where no other row has a place."""

    entry: Entry
    rank: Rank
    lead: Lead | None


def headline(board: Board) -> Headline | None:
    """The headline of a board; None where no entry has a worst-case accuracy."""
    ranked = [(entry, place) for entry, place in zip(board.entries, board.ranks, strict=True) if place.place]
    if not ranked:
        return None
    (best, first), *others = ranked
    return Headline(best, first, _lead(best, *others[0]) if others else None)


def _lead(best: Entry, other: Entry, place: Rank) -> Lead:
    if best.outcomes is None or other.outcomes is None:
        return Lead(other, None, None, place.place != 1)
    p_value = paired_p_value(best.outcomes, other.outcomes)
    over_trainings = welch_p_value(best.outcomes.mean(axis=1), other.outcomes.mean(axis=1))
    ahead = difference(best.outcomes, other.outcomes)
    return Lead(other, ahead, p_value, p_value < LEVEL, over_trainings)


def difference(first: np.ndarray, second: np.ndarray) -> Difference:
    """Difference of two worst cases on the same test images.

    Args:
        first, second: bool [seeds, n].
    """
    if len(first) == len(second) == 1:
        return paired_difference(first[0], second[0])
    return mean_difference(first, second)
