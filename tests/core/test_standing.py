from typing import Any

import numpy as np
import pytest

from bench.core.names import WORST_CASE
from bench.core.record import Record
from bench.core.standing import CHECKED, NO_SIGNAL, VERDICT, count_checks, needs_answer, standing
from tests.records import make_arrays, make_record

RAISED = {"name": "zero gradients", "raised": True, "message": "95 % of the gradients are zero"}


def verdict(before: float, after: float, unbounded: float = 0.0) -> dict[str, Any]:
    numbers = {
        "worst_case": before,
        "with_extra_checks": after,
        "unbounded": unbounded,
        "broken_by_transfer": 7,
    }
    return {"name": VERDICT, "raised": after < before, "message": "", "numbers": numbers}


def answered(after: np.ndarray, unbounded: float = 0.0) -> tuple[Record, dict[str, np.ndarray]]:
    """A record as earlier versions wrote it: its worst case does not count what the extra checks broke."""
    arrays = make_arrays()
    before = arrays[WORST_CASE][: len(after)]
    arrays[CHECKED] = after & before
    alarms = [RAISED, verdict(before.mean(), arrays[CHECKED].mean(), unbounded)]
    return make_record(arrays, alarms=alarms), arrays


def test_a_raised_alarm_is_in_doubt_until_extra_checks_answer_it() -> None:
    assert not standing(make_record(alarms=[])).in_doubt
    unanswered = standing(make_record(alarms=[RAISED]))
    assert unanswered.in_doubt
    assert str(unanswered) == "alarms: zero gradients (in doubt: no extra checks ran)"
    record, _ = answered(np.zeros(200, bool))
    found = standing(record)
    assert not found.in_doubt
    assert found.raised == ("zero gradients",)
    assert found.answer == "extra checks: worst case 0.0% instead of 45.0%; transfer broke 7"
    assert standing(answered(np.ones(200, bool), unbounded=0.02)[0]).in_doubt  # the checks themselves fail


def test_checks_that_leave_many_images_right_without_a_bound_are_no_answer_whatever_they_broke() -> None:
    some = np.arange(200) < 40
    assert not standing(answered(some, unbounded=0.04)[0]).in_doubt
    assert standing(answered(some, unbounded=0.06)[0]).in_doubt


def test_no_signal_needs_no_answer_and_a_verdict_without_its_score_answers_nothing() -> None:
    nothing = {"name": NO_SIGNAL, "raised": True, "message": "clean accuracy at chance"}
    assert not standing(make_record(alarms=[nothing])).in_doubt
    assert standing(make_record(alarms=[RAISED, verdict(0.45, 0.45)])).in_doubt


def test_a_worst_case_of_zero_cannot_be_too_high() -> None:
    nothing = make_record(make_arrays({"robust_accuracy/autoattack": 0.0}), alarms=[RAISED])
    assert nothing.metrics[WORST_CASE].value == 0
    assert not standing(nothing).in_doubt
    assert not needs_answer(nothing.alarms, nothing.metrics)
    something = make_record(alarms=[RAISED])
    assert needs_answer(something.alarms, something.metrics)


@pytest.mark.parametrize("images", [200, 50])
@pytest.mark.parametrize("stored", [True, False])
def test_what_the_checks_broke_is_counted_in_records_of_earlier_versions(images: int, stored: bool) -> None:
    after = np.random.default_rng(0).random(images) < 0.5
    record, arrays = answered(after)
    worst = arrays[WORST_CASE]
    known, outcomes = count_checks(record, worst if stored else None, arrays[CHECKED] if stored else None)
    truth = worst.copy()
    truth[:images] &= after
    score = known.metrics[WORST_CASE]
    assert score.value == pytest.approx(truth.mean())
    assert score.low
    assert score.low < truth.mean()
    assert score.reason.startswith("45.0% before extra checks")
    assert (outcomes is None) == (not stored)
    assert outcomes is None or (outcomes == truth).all()
    assert count_checks(known, outcomes, arrays[CHECKED] if stored else None)[0] == known
