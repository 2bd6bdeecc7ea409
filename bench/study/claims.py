"""Claims about a table: orderings of two rows, of two columns, or of a score and a bound, and their tests."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from bench.core.errors import UserError, unknown_name
from bench.core.intervals import proportion_interval
from bench.core.statistics import paired_p_value, welch_p_value
from bench.study.regression import SIGNIFICANCE, Verdict

Kind = Literal["rows", "columns", "bound"]
FORM = re.compile(
    r"\s*(?P<left>.+?)\s*(?P<sign>[<>])\s*(?P<right>.+?)\s+(?P<word>at|for)\s+(?P<place>.+?)\s*", re.DOTALL
)
FORMS = "`ROW > ROW at COLUMN`, `COLUMN > COLUMN for ROW` or `COLUMN > NUMBER for ROW`"


@dataclass(frozen=True)
class Claim:
    """An ordering, in the direction `greater > smaller`.

    Attributes:
        text: as in the study file.
        kind: two rows in a column, two columns in a row, or a column and a bound in a row.
        greater, smaller: names of rows or columns; for `kind == "bound"`, one of them is the bound as text.
        place: the column, or the row.
    """

    text: str
    kind: Kind
    greater: str
    smaller: str
    place: str


@dataclass(frozen=True)
class JudgedClaim:
    """A claim with its verdict, the measured difference, and the test."""

    claim: Claim
    verdict: Verdict
    difference: float | None
    p_value: float | None
    test: str


@dataclass(frozen=True)
class SeedScores:
    """One score of one row, for each training seed.

    Attributes:
        values: one per seed.
        low, high: ends of the 95 % intervals, one per seed; None where the score has none.
        outcomes: bool [n] per seed, correct on each test image; empty where the score is not a share of images.
        images: identifies these images.
        unit: 100 where the page, and therefore a bound, is in per cent; else 1.
    """

    values: tuple[float, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    outcomes: tuple[np.ndarray, ...] = ()
    images: str = ""
    unit: float = 1.0


def parse_claim(text: object, rows: Sequence[str], columns: Sequence[str]) -> Claim:
    """Parse a claim.

    Raises:
        UserError: when it has none of the forms, or names an unknown row or column.
    """
    match = FORM.fullmatch(text) if isinstance(text, str) else None
    if match is None or not isinstance(text, str):
        raise UserError(f"expected {FORMS}, got {text!r}")
    left, right = match["left"], match["right"]
    greater, smaller = (left, right) if match["sign"] == ">" else (right, left)
    if match["word"] == "at":
        _require("column", match["place"], columns)
        for name in (left, right):
            _require("row", name, rows)
        return Claim(text.strip(), "rows", greater, smaller, match["place"])
    _require("row", match["place"], rows)
    if _number(left) is None and _number(right) is None:
        for name in (left, right):
            _require("column", name, columns)
        return Claim(text.strip(), "columns", greater, smaller, match["place"])
    if _number(left) is not None and _number(right) is not None:
        raise UserError(f"{text!r} compares two numbers; expected {FORMS}")
    _require("column", left if _number(left) is None else right, columns)
    return Claim(text.strip(), "bound", greater, smaller, match["place"])


def judge_claim(claim: Claim, table: Mapping[tuple[str, str], SeedScores]) -> JudgedClaim:
    """Judge a claim by the test that its scores allow.

    For shares of the same test images, this is `bench.core.statistics.paired_p_value` (McNemar's test for one seed
    each). Otherwise, with several seeds on both sides, it is Welch's t-test over the seeds. Otherwise the 95 %
    intervals decide when they do not overlap. A bound is compared with the interval, or by a t-test over seeds.

    Args:
        claim: the claim.
        table: (row, column) → scores.
    """
    if claim.kind == "bound":
        return _against_bound(claim, table)
    if claim.kind == "rows":
        greater, smaller = (table[row, claim.place] for row in (claim.greater, claim.smaller))
    else:
        greater, smaller = (table[claim.place, column] for column in (claim.greater, claim.smaller))
    if not greater.values or not smaller.values:
        return JudgedClaim(claim, "undecided", None, None, "a value is missing")
    difference = float(np.mean(greater.values) - np.mean(smaller.values))
    if greater.outcomes and smaller.outcomes and greater.images == smaller.images:
        return _paired(claim, difference, greater, smaller)
    if min(len(greater.values), len(smaller.values)) >= 2:
        return _welch(claim, difference, greater, smaller)
    first, second = _interval(greater), _interval(smaller)
    if first is None or second is None:
        return JudgedClaim(claim, "undecided", difference, None, "one training, and no interval to compare")
    verdict: Verdict = "undecided"
    if first[0] > second[1] or first[1] < second[0]:
        verdict = "confirmed" if difference > 0 else "not confirmed"
    return JudgedClaim(claim, verdict, difference, None, "95 % intervals")


def _paired(claim: Claim, difference: float, greater: SeedScores, smaller: SeedScores) -> JudgedClaim:
    # Attacks run on the first test images, so the shorter outcomes are of the first images of the longer ones.
    n = min(len(outcome) for outcome in (*greater.outcomes, *smaller.outcomes))
    first, second = (np.stack([outcome[:n] for outcome in each.outcomes]) for each in (greater, smaller))
    p_value = paired_p_value(first, second)
    difference = float(first.mean() - second.mean())
    one = len(first) == len(second) == 1
    name = "McNemar, exact" if one else "paired sign-flip, exact, mean over seeds"
    return JudgedClaim(claim, _verdict(difference, p_value), difference, p_value, f"{name}, n = {n}")


def _welch(claim: Claim, difference: float, greater: SeedScores, smaller: SeedScores) -> JudgedClaim:
    p_value = welch_p_value(greater.values, smaller.values)
    if p_value is None:
        return JudgedClaim(claim, "undecided", difference, None, "no spread over seeds to test with")
    seeds = f"{len(greater.values)} and {len(smaller.values)} seeds"
    return JudgedClaim(claim, _verdict(difference, p_value), difference, p_value, f"Welch's t, {seeds}")


def _against_bound(claim: Claim, table: Mapping[tuple[str, str], SeedScores]) -> JudgedClaim:
    above = _number(claim.smaller)
    bound = above if above is not None else _number(claim.greater)
    assert bound is not None, "parse_claim requires one number"
    scores = table[claim.place, claim.greater if above is not None else claim.smaller]
    if not scores.values:
        return JudgedClaim(claim, "undecided", None, None, "the value is missing")
    bound /= scores.unit
    difference = float(np.mean(scores.values)) - bound
    if above is None:
        difference = -difference
    interval = _interval(scores)
    if interval is None:
        return _seeds_against_bound(claim, difference, scores, bound)
    verdict: Verdict = "undecided"
    if not interval[0] <= bound <= interval[1]:
        verdict = "confirmed" if difference > 0 else "not confirmed"
    return JudgedClaim(claim, verdict, difference, None, "95 % interval")


def _seeds_against_bound(claim: Claim, difference: float, scores: SeedScores, bound: float) -> JudgedClaim:
    if len(scores.values) < 2 or np.ptp(scores.values) == 0:
        return JudgedClaim(
            claim, "undecided", difference, None, "no interval, and no spread over seeds to test with"
        )
    p_value = float(stats.ttest_1samp(scores.values, bound).pvalue)
    return JudgedClaim(
        claim, _verdict(difference, p_value), difference, p_value, f"t, {len(scores.values)} seeds"
    )


def _verdict(difference: float, p_value: float) -> Verdict:
    if difference == 0 or not p_value < SIGNIFICANCE:
        return "undecided"
    return "confirmed" if difference > 0 else "not confirmed"


def _interval(scores: SeedScores) -> tuple[float, float] | None:
    """Mean of the seeds' intervals, which is rather too wide; those of the outcomes where the scores have none."""
    if scores.outcomes and None in (*scores.low, *scores.high):
        ends = [proportion_interval(int(outcome.sum()), len(outcome)) for outcome in scores.outcomes]
        return float(np.mean([low for low, _ in ends])), float(np.mean([high for _, high in ends]))
    lows = [low for low in scores.low if low is not None]
    highs = [high for high in scores.high if high is not None]
    if not lows or len(lows) != len(scores.values) or len(highs) != len(scores.values):
        return None
    return float(np.mean(lows)), float(np.mean(highs))


def _require(kind: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise unknown_name(kind, name, known)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
