import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.core.intervals import mean_interval
from bench.core.statistics import mean_score, median_score


def test_a_mean_of_few_values_has_an_interval_that_is_called_approximate():
    values = np.array([1.0, 2.0, 4.0, 9.0])
    score = mean_score(values, unit="logits", reason="why")
    assert (score.value, score.n, score.unit) == (4, 4, "logits")
    assert (score.low, score.high) == mean_interval(values)
    assert score.reason == "why; n = 4: the interval is approximate"
    assert mean_score(np.arange(40.0), unit="logits").reason == ""


def test_an_interval_stays_within_the_bounds():
    score = mean_score(np.array([0.0, 0.0, 1.0]), unit="fraction", bounds=(0, 1))
    assert score.low == 0
    assert score.high == 1


def test_a_single_value_has_no_interval_and_none_a_reason():
    assert mean_score(np.array([2.0]), unit="x").low is None
    for empty in (mean_score(np.array([]), unit="x"), median_score(np.array([]), unit="x", infinite="far")):
        assert empty.value is None
        assert empty.reason
    assert mean_score(np.array([np.nan]), unit="x").value is None
    assert mean_score(np.array([np.nan, 3]), unit="x").n == 1


@pytest.mark.parametrize("value", [0.0, 3.0, 0.1])
def test_equal_values_have_no_interval_and_the_reason_says_so(value):
    score = mean_score(np.full(7, value), unit="x", reason="why")
    assert score.value == pytest.approx(value)
    assert (score.low, score.high) == (None, None)
    assert score.reason == "why; all 7 values are equal: no interval"
    assert mean_score(np.array([value, value + 1e-3]), unit="x").low is not None


@given(st.lists(st.floats(-10, 10), min_size=6, max_size=40))
def test_a_median_lies_in_its_interval_which_ends_at_values(values):
    score = median_score(np.array(values), unit="ratio", infinite="far")
    assert score.value == pytest.approx(float(np.median(values)))
    assert score.low <= score.value + 1e-12
    assert score.high >= score.value - 1e-12
    assert {score.low, score.high} <= set(values)


def test_the_interval_of_a_median_covers_at_least_what_it_says():
    # Order statistics r and n + 1 − r of n values miss the median with probability 2·P(Bin(n, ½) < r).
    values = np.arange(1.0, 41.0)
    score = median_score(values, unit="ratio", infinite="far")
    rank = int(score.low)
    assert score.high == 41 - rank
    assert 2 * stats.binom.cdf(rank - 1, 40, 0.5) <= 0.05 < 2 * stats.binom.cdf(rank, 40, 0.5)


def test_infinite_values_are_large_ones_and_an_infinite_median_has_a_reason():
    values = np.array([1.0, 2, 3, 4, 5, 6, math.inf, math.inf])
    score = median_score(values, unit="ratio", infinite="far")
    assert score.value == 4.5
    assert score.high is None
    assert score.low == 1
    far = median_score(np.array([1.0, math.inf, math.inf]), unit="ratio", reason="why", infinite="far")
    assert (far.value, far.n, far.reason) == (None, 3, "far; why")
    split = median_score(np.array([-math.inf, math.inf]), unit="ratio", infinite="far")
    assert split.value is None


def test_few_values_have_a_median_without_interval():
    score = median_score(np.array([3.0, 1.0, 2.0]), unit="ratio", infinite="far")
    assert (score.value, score.low, score.high) == (2, None, None)
