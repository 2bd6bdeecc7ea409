"""A check of a record and its outcome, and the tolerances that checks share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from bench.core.names import ROBUST_ACCURACY, WORST_CASE

#: Images per forward pass.
BATCH_SIZE = 500
#: Messages list at most this many differences.
MOST_LISTED = 5
#: Within this margin, relative to the largest logit, an image lies on the decision boundary: there the class
#: depends on rounding.
ROUNDING = 1e-4
#: The share of images whose outcome under an attack may change by rounding alone, where the random draws are the
#: same. Each of an attack's steps rounds.
DISAGREEMENT = 1 / 500
#: The same for an attack whose random draws differ: AutoAttack draws by batch, and a sample is another batch.
OTHER_DRAWS = 1 / 200
#: The same for an image that lies on the decision boundary within rounding: its class is as good as drawn.
ON_BOUNDARY = 1 / 2
#: A p-value below this is a mismatch.
LEVEL = 0.01

Outcome = Literal["match", "mismatch", "not checked"]


@dataclass(frozen=True)
class Check:
    """One check: its name, its outcome, and what was found."""

    name: str
    outcome: Outcome
    message: str


@dataclass(frozen=True)
class Unproven:
    """Fields of a record that no check covers, and why.

    Attributes:
        fields: paths in the record, such as "cost" or "provenance.hardware"; a path covers what lies below it.
        reason: why, in a few words.
    """

    fields: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{', '.join(self.fields)}: {self.reason}"


#: What a step of a verification finds.
Finding = Check | Unproven
Findings = Iterator[Finding]


def outcome_of(agrees: bool) -> Outcome:
    """The outcome of a check that was possible."""
    return "match" if agrees else "mismatch"


def disagreement(differing: int, n: int, rate: float = DISAGREEMENT) -> float:
    """The probability that rounding changes the outcome of so many images of n, or more: an exact binomial test."""
    if differing == 0 or differing > n:
        return float(differing == 0)
    return float(stats.binomtest(differing, n, rate, alternative="greater").pvalue)


def is_mean_of(value: float, outcomes: np.ndarray | None, n: int) -> bool:
    """Whether a score over n images is the mean of its outcomes; true when no outcomes are stored."""
    return outcomes is None or (len(outcomes) == n and abs(float(outcomes.mean()) - value) < 0.5 / n)


def is_attack(name: str) -> bool:
    """Whether a score or an array of this name is the robust accuracy under a single attack."""
    return name.startswith(ROBUST_ACCURACY) and name != WORST_CASE and ":" not in name


def first_few(words: Sequence[str], separator: str = ", ") -> str:
    """The first words in one line, with the number of those left out."""
    more = f"{separator}and {len(words) - MOST_LISTED} more" if len(words) > MOST_LISTED else ""
    return separator.join(words[:MOST_LISTED]) + more
