"""Claims: their forms, and the tests that judge them."""

from typing import Any

import numpy as np
import pytest

from bench.core.errors import UserError
from bench.core.statistics import mcnemar
from bench.study.claims import SeedScores, judge_claim, parse_claim

ROWS, COLUMNS = ["natural", "jacobian", "L_PRS (ours)"], ["bim@0.1", "clean_accuracy", "prs_ratio"]


def outcome(right: int, n: int = 100) -> np.ndarray:
    return np.arange(n) < right


def shares(*rights: int, n: int = 100, images: str = "same") -> SeedScores:
    outcomes = tuple(outcome(right, n) for right in rights)
    empty = (None,) * len(rights)
    return SeedScores(tuple(right / n for right in rights), empty, empty, outcomes, images, 100.0)


def numbers(*values: float, low: float | None = None, high: float | None = None) -> SeedScores:
    return SeedScores(values, (low,) * len(values), (high,) * len(values))


def judged(text: str, table: dict[tuple[str, str], SeedScores]) -> Any:
    return judge_claim(parse_claim(text, ROWS, COLUMNS), table)


def test_both_signs_say_the_same() -> None:
    first = parse_claim("jacobian > natural at bim@0.1", ROWS, COLUMNS)
    second = parse_claim("natural < jacobian at bim@0.1", ROWS, COLUMNS)
    assert (first.greater, first.smaller) == (second.greater, second.smaller) == ("jacobian", "natural")
    assert parse_claim("L_PRS (ours) > natural at prs_ratio", ROWS, COLUMNS).greater == "L_PRS (ours)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jacobian is better", "expected `ROW > ROW at COLUMN`"),
        (["jacobian"], "expected `ROW > ROW at COLUMN`"),
        (None, "expected `ROW > ROW at COLUMN`"),
        ("jacobain > natural at bim@0.1", "unknown row 'jacobain'; did you mean jacobian"),
        ("jacobian > natural at bim@0.2", "unknown column 'bim@0.2'; did you mean bim@0.1"),
        ("bim@0.1 > prs_ration for natural", "unknown column 'prs_ration'; did you mean prs_ratio"),
        ("prs_ratio > 0.5 for nature", "unknown row 'nature'; did you mean natural"),
        ("1 > 0.5 for natural", "compares two numbers"),
    ],
)
def test_a_claim_that_cannot_be_read_is_named(text: object, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("`", "`")):
        parse_claim(text, ROWS, COLUMNS)


@pytest.mark.parametrize(
    ("jacobian", "natural", "verdict"),
    [(60, 20, "confirmed"), (20, 60, "not confirmed"), (60, 58, "undecided"), (50, 50, "undecided")],
)
def test_shares_of_the_same_images_get_mcnemars_test(jacobian: int, natural: int, verdict: str) -> None:
    table = {("jacobian", "bim@0.1"): shares(jacobian), ("natural", "bim@0.1"): shares(natural)}
    found = judged("jacobian > natural at bim@0.1", table)
    assert found.verdict == verdict
    assert found.p_value == mcnemar(outcome(jacobian), outcome(natural))
    assert found.difference == pytest.approx((jacobian - natural) / 100)
    assert "McNemar" in found.test


def test_several_seeds_are_paired_image_by_image() -> None:
    table = {("jacobian", "bim@0.1"): shares(60, 62), ("natural", "bim@0.1"): shares(20, 22)}
    found = judged("jacobian > natural at bim@0.1", table)
    assert found.verdict == "confirmed"
    assert "sign-flip" in found.test


def test_other_images_are_never_paired() -> None:
    table = {
        ("jacobian", "bim@0.1"): shares(60),
        ("natural", "bim@0.1"): shares(20, images="others"),
    }
    found = judged("jacobian > natural at bim@0.1", table)
    assert (found.verdict, found.test) == ("confirmed", "95 % intervals")


def test_two_columns_of_one_row_meet_on_the_images_both_saw() -> None:
    table = {("natural", "clean_accuracy"): shares(900, n=1000), ("natural", "bim@0.1"): shares(30)}
    found = judged("clean_accuracy > bim@0.1 for natural", table)
    assert found.verdict == "confirmed"
    assert "n = 100" in found.test
    # Of the first hundred images, all are right when clean.
    assert found.difference == pytest.approx(0.7)


def test_counts_are_compared_over_seeds_or_not_at_all() -> None:
    table = {
        ("natural", "prs_ratio"): numbers(0.9, 0.91, 0.89),
        ("jacobian", "prs_ratio"): numbers(0.1, 0.12, 0.11),
    }
    found = judged("natural > jacobian at prs_ratio", table)
    assert found.verdict == "confirmed"
    assert "Welch" in found.test
    single = {key: numbers(scores.values[0]) for key, scores in table.items()}
    assert judged("natural > jacobian at prs_ratio", single).verdict == "undecided"
    flat = {("natural", "prs_ratio"): numbers(0.9, 0.9), ("jacobian", "prs_ratio"): numbers(0.1, 0.1)}
    assert judged("natural > jacobian at prs_ratio", flat).verdict == "undecided"


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("prs_ratio > 0.3 for natural", "confirmed"),
        ("prs_ratio < 0.3 for natural", "not confirmed"),
        ("0.3 < prs_ratio for natural", "confirmed"),
        ("prs_ratio > 0.5 for natural", "undecided"),
        ("prs_ratio < 0.9 for natural", "confirmed"),
    ],
)
def test_a_bound_is_compared_with_the_interval(text: str, verdict: str) -> None:
    table = {("natural", "prs_ratio"): numbers(0.55, low=0.45, high=0.65)}
    assert judged(text, table).verdict == verdict


def test_a_bound_of_a_share_is_in_per_cent_as_the_column_is() -> None:
    table = {("natural", "bim@0.1"): shares(60)}
    assert judged("bim@0.1 > 40 for natural", table).verdict == "confirmed"
    assert judged("bim@0.1 > 90 for natural", table).verdict == "not confirmed"


def test_a_missing_value_decides_nothing() -> None:
    table = {("natural", "prs_ratio"): SeedScores(), ("jacobian", "prs_ratio"): numbers(0.5)}
    assert judged("natural > jacobian at prs_ratio", table).verdict == "undecided"
    assert judged("prs_ratio > 0.5 for natural", table).verdict == "undecided"
