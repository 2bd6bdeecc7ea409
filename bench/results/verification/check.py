"""A check of a record and its outcome, with the tolerances that checks share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.core.names import ROBUST_ACCURACY, WORST_CASE
from bench.core.record import Record
from bench.evaluation.alarms import RANDOMIZED_OUTPUT

#: Images per forward pass.
BATCH_SIZE = 500
#: Messages list at most this many differences.
MOST_LISTED = 5

Outcome = Literal["match", "mismatch", "not checked"]


@dataclass(frozen=True)
class Check:
    """One check: its name, its outcome, and what was found."""

    name: str
    outcome: Outcome
    message: str


def outcome_of(agrees: bool) -> Outcome:
    """The outcome of a check that was possible."""
    return "match" if agrees else "mismatch"


def forgiven(n: int, *, attacked: bool = False) -> int:
    """Number of images out of n that may differ because of rounding: one in a thousand, at least one.

    After an attack, one in a hundred: each of its many steps rounds.
    """
    return max(1, n // (100 if attacked else 1000))


def is_mean_of(value: float, outcomes: np.ndarray | None, n: int) -> bool:
    """Whether a score over n images is the mean of its outcomes; true when no outcomes are stored."""
    return outcomes is None or (len(outcomes) == n and abs(float(outcomes.mean()) - value) < 0.5 / n)


def is_attack(name: str) -> bool:
    """Whether a score or an array of this name is the robust accuracy under a single attack."""
    return name.startswith(ROBUST_ACCURACY) and name != WORST_CASE and ":" not in name


def is_stochastic(record: Record) -> bool:
    """Whether the record's own alarm says that the network is stochastic."""
    return any(alarm.name == RANDOMIZED_OUTPUT and alarm.raised for alarm in record.alarms)


def first_few(words: Sequence[str], separator: str = ", ") -> str:
    """The first words in one line, with the number of those left out."""
    more = f"{separator}and {len(words) - MOST_LISTED} more" if len(words) > MOST_LISTED else ""
    return separator.join(words[:MOST_LISTED]) + more
