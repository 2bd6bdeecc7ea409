"""Claims of a table: orderings of two rows, of two columns, or of a number and a bound."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from bench.core.errors import UserError, unknown_name
from bench.core.statistics import paired_p_value, wilson
from bench.study.regression import LEVEL, Verdict

Kind = Literal["rows", "columns", "bound"]
FORM = re.compile(
    r"\s*(?P<left>.+?)\s*(?P<sign>[<>])\s*(?P<right>.+?)\s+(?P<word>at|for)\s+(?P<place>.+?)\s*", re.DOTALL
)
FORMS = "`ROW > ROW at COLUMN`, `COLUMN > COLUMN for ROW` or `COLUMN > NUMBER for ROW`"


@dataclass(frozen=True)
class Claim:
    """An ordering, in the direction `greater > smaller`.

    Attributes:
        text: as the file says it.
        kind: two rows at a column, two columns for a row, or a column and a bound for a row.
        greater, smaller: names; one of them is the bound's number as text for `kind == "bound"`.
        place: the column, or the row.
    """

    text: str
    kind: Kind
    greater: str
    smaller: str
    place: str


@dataclass(frozen=True)
class Ruling:
    """A verdict on a claim, with the difference it rests on and the test that was made."""

    claim: Claim
    verdict: Verdict
    difference: float | None
    p_value: float | None
    test: str


@dataclass(frozen=True)
class Measured:
    """One row's score over its training seeds.

    Attributes:
        values: one a seed.
        low, high: 95 % intervals of sampling, one a seed; None where the score has none.
        outcomes: bool [n] a seed, right on each test image; empty where the score is no share of images.
        images: fingerprint of those images.
        unit: 100 where the page, and so a bound, speaks of per cent.
    """

    values: tuple[float, ...] = ()
    low: tuple[float | None, ...] = ()
    high: tuple[float | None, ...] = ()
    outcomes: tuple[np.ndarray, ...] = ()
    images: str = ""
    unit: float = 1.0


def parse_claim(text: object, rows: Sequence[str], columns: Sequence[str]) -> Claim:
    """A claim from its text.

    Raises:
        UserError: when it has none of the forms, or names a row or a column that is not there.
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


def rule(claim: Claim, table: Mapping[tuple[str, str], Measured]) -> Ruling:
    """Judge a claim by the right test for what there is.

    Two shares of the same test images: `bench.core.statistics.paired_p_value` (McNemar's test for one seed each).
    Else, with several seeds on both sides, Welch's t-test over them. Else 95 % intervals, which decide when they do
    not overlap. A bound is compared with the interval, or by a t-test over seeds.

    Args:
        table: (row, column) → what was measured.
    """
    if claim.kind == "bound":
        return _against_bound(claim, table)
    if claim.kind == "rows":
        greater, smaller = (table[row, claim.place] for row in (claim.greater, claim.smaller))
    else:
        greater, smaller = (table[claim.place, column] for column in (claim.greater, claim.smaller))
    if not greater.values or not smaller.values:
        return Ruling(claim, "undecided", None, None, "a value is missing")
    difference = float(np.mean(greater.values) - np.mean(smaller.values))
    if greater.outcomes and smaller.outcomes and greater.images == smaller.images:
        return _paired(claim, difference, greater, smaller)
    if min(len(greater.values), len(smaller.values)) >= 2:
        return _welch(claim, difference, greater, smaller)
    first, second = _interval(greater), _interval(smaller)
    if first is None or second is None:
        return Ruling(claim, "undecided", difference, None, "one training, and no interval to compare")
    verdict: Verdict = "undecided"
    if first[0] > second[1] or first[1] < second[0]:
        verdict = "confirmed" if difference > 0 else "not confirmed"
    return Ruling(claim, verdict, difference, None, "95 % intervals")


def _paired(claim: Claim, difference: float, greater: Measured, smaller: Measured) -> Ruling:
    # Attacks see the first images of the test set, so the shorter outcomes are the beginning of the longer.
    n = min(len(outcome) for outcome in (*greater.outcomes, *smaller.outcomes))
    first, second = (np.stack([outcome[:n] for outcome in each.outcomes]) for each in (greater, smaller))
    p_value = paired_p_value(first, second)
    difference = float(first.mean() - second.mean())
    one = len(first) == len(second) == 1
    name = "McNemar, exact" if one else "paired sign-flip, exact, mean over seeds"
    return Ruling(claim, _verdict(difference, p_value), difference, p_value, f"{name}, n = {n}")


def _welch(claim: Claim, difference: float, greater: Measured, smaller: Measured) -> Ruling:
    if np.ptp(greater.values) == 0 == np.ptp(smaller.values):
        return Ruling(claim, "undecided", difference, None, "no spread over seeds to test with")
    p_value = float(stats.ttest_ind(greater.values, smaller.values, equal_var=False).pvalue)
    seeds = f"{len(greater.values)} and {len(smaller.values)} seeds"
    return Ruling(claim, _verdict(difference, p_value), difference, p_value, f"Welch's t, {seeds}")


def _against_bound(claim: Claim, table: Mapping[tuple[str, str], Measured]) -> Ruling:
    above = _number(claim.smaller)
    bound = above if above is not None else _number(claim.greater)
    assert bound is not None, "parse_claim lets no other through"
    measured = table[claim.place, claim.greater if above is not None else claim.smaller]
    if not measured.values:
        return Ruling(claim, "undecided", None, None, "the value is missing")
    bound /= measured.unit
    difference = float(np.mean(measured.values)) - bound
    if above is None:
        difference = -difference
    interval = _interval(measured)
    if interval is None:
        return _seeds_against_bound(claim, difference, measured, bound)
    verdict: Verdict = "undecided"
    if not interval[0] <= bound <= interval[1]:
        verdict = "confirmed" if difference > 0 else "not confirmed"
    return Ruling(claim, verdict, difference, None, "95 % interval")


def _seeds_against_bound(claim: Claim, difference: float, measured: Measured, bound: float) -> Ruling:
    if len(measured.values) < 2 or np.ptp(measured.values) == 0:
        return Ruling(
            claim, "undecided", difference, None, "no interval, and no spread over seeds to test with"
        )
    p_value = float(stats.ttest_1samp(measured.values, bound).pvalue)
    return Ruling(
        claim, _verdict(difference, p_value), difference, p_value, f"t, {len(measured.values)} seeds"
    )


def _verdict(difference: float, p_value: float) -> Verdict:
    if difference == 0 or not p_value < LEVEL:
        return "undecided"
    return "confirmed" if difference > 0 else "not confirmed"


def _interval(measured: Measured) -> tuple[float, float] | None:
    """The means of the seeds' own ends, which errs on the wide side; Wilson's where there are outcomes alone."""
    if measured.outcomes and None in (*measured.low, *measured.high):
        ends = [wilson(int(outcome.sum()), len(outcome)) for outcome in measured.outcomes]
        return float(np.mean([low for low, _ in ends])), float(np.mean([high for _, high in ends]))
    lows = [low for low in measured.low if low is not None]
    highs = [high for high in measured.high if high is not None]
    if not lows or len(lows) != len(measured.values) or len(highs) != len(measured.values):
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
