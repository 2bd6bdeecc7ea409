"""Intervals against their equations, and against what they promise."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.core.intervals import FEW, mean_interval, proportion_interval, wilson


@given(st.integers(1, 500), st.data())
def test_wilson_solves_its_own_equation(n: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, n))
    share, z = successes / n, stats.norm.ppf(0.975)
    for bound in wilson(successes, n):
        assert (share - bound) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / n, abs=1e-9)


@given(st.integers(1, 500), st.data())
def test_a_proportion_has_wilsons_interval_but_for_few_successes_or_failures(
    n: int, data: st.DataObject
) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = proportion_interval(successes, n)
    plain = wilson(successes, n)
    assert low <= plain[0]
    assert high >= plain[1]
    mirrored = proportion_interval(n - successes, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))
    if not 1 <= successes <= FEW:
        assert low == plain[0]
    elif low < plain[0]:
        # So many successes or more come with a probability of 5 % at the lower end, for a Poisson count.
        assert stats.poisson(low * n).sf(successes - 1) == pytest.approx(0.05)


@pytest.mark.parametrize("n", [5, 10, 20, 40, 100, 200, 1000])
def test_a_proportion_is_covered_nearly_as_often_as_its_interval_says(n: int) -> None:
    chances = np.concatenate([np.geomspace(1e-5, 0.1, 300), np.linspace(0.1, 0.5, 200)])
    ends = np.array([proportion_interval(successes, n) for successes in range(n + 1)])
    covers = (ends[:, :1] <= chances) & (chances <= ends[:, 1:])
    coverage = (stats.binom.pmf(np.arange(n + 1)[:, None], n, chances) * covers).sum(axis=0)
    assert coverage.min() > 0.91
    assert coverage.mean() > 0.95


def test_the_interval_of_a_mean_is_students_where_values_are_symmetric() -> None:
    values = np.random.default_rng(0).normal(3, 2, 12)
    values = np.concatenate([values, 6 - values])
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high))


@given(st.lists(st.integers(0, 9), min_size=3, max_size=40))
def test_the_interval_of_a_mean_is_the_farther_of_students_and_halls(numbers: list[int]) -> None:
    values = np.array(numbers, float)
    low, high = mean_interval(values)
    if np.ptp(values) == 0:
        assert low == high == values[0]
        return
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    mean, error = values.mean(), stats.sem(values)
    a = stats.skew(values, bias=False) / math.sqrt(len(values))

    def cubic(of: float) -> float:
        return of + a * of**2 / 3 + a**2 * of**3 / 27 + a / 6

    t = stats.t.ppf(0.975, len(values) - 1)
    for end, theirs, quantile, farther in ((low, student.low, t, min), (high, student.high, -t, max)):
        assert farther(end, theirs) == end or end == pytest.approx(theirs)
        if end != pytest.approx(theirs):
            assert cubic((mean - end) / error) == pytest.approx(quantile)


def test_one_value_is_its_own_interval_and_none_has_no_mean() -> None:
    assert mean_interval(np.array([2.5])) == (2.5, 2.5)
    with pytest.raises(ValueError, match="at least 1"):
        mean_interval(np.array([]))
