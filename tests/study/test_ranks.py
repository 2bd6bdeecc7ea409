"""Rank correlations over networks: against scipy, by hand, and where there is nothing to find."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.study.ranks import estimate, holm, kendall, partial, resample

ONE = np.zeros


def tau(x, y, strata=None):
    x, y = np.asarray(x, float), np.asarray(y, float)
    (found,) = kendall(x, y, ONE(len(x)) if strata is None else np.asarray(strata), np.ones((1, len(x))))
    return found


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=30))
def test_of_one_stratum_it_is_scipys(pairs):
    x, y = np.array(pairs, float).T
    expected = stats.kendalltau(x, y).statistic
    assert tau(x, y) == pytest.approx(expected, nan_ok=True)


def test_pairs_of_two_strata_do_not_count():
    # Within each stratum the order is the same; between them it is the opposite.
    x, y, strata = [1, 2, 3, 11, 12, 13], [14, 15, 16, 4, 5, 6], [0, 0, 0, 1, 1, 1]
    assert tau(x, y) < 0
    assert tau(x, y, strata) == 1


def test_missing_values_leave_their_network_out():
    assert tau([1, 2, np.nan, 3], [1, 2, 9, 3]) == 1
    assert np.isnan(tau([1, np.nan], [1, 2]))


@given(st.lists(st.integers(1, 4), min_size=4, max_size=8), st.integers(0, 99))
def test_weights_repeat_networks(weights, seed):
    x, y = np.random.default_rng(seed).integers(0, 4, (2, len(weights))).astype(float)
    (found,) = kendall(x, y, ONE(len(x)), np.array([weights], float))
    assert found == pytest.approx(tau(np.repeat(x, weights), np.repeat(y, weights)), nan_ok=True)


def test_resampling_keeps_the_size_of_each_stratum_and_starts_with_all():
    strata = np.array(["a"] * 4 + ["b"] * 3)
    weights = resample(strata, 50)
    assert (weights[0] == 1).all()
    assert (weights[:, :4].sum(axis=1) == 4).all()
    assert (weights[:, 4:].sum(axis=1) == 3).all()
    assert np.array_equal(weights, resample(strata, 50))
    assert len({tuple(row) for row in weights}) > 40


def test_the_partial_correlation_is_kendalls():
    x, y, z = np.random.default_rng(0).normal(size=(3, 40))
    x, y = x + z, y + z
    xy, xz, yz = (stats.kendalltau(*pair).statistic for pair in ((x, y), (x, z), (y, z)))
    (found,) = partial(x, y, z, ONE(40), np.ones((1, 40)))
    assert found == pytest.approx((xy - xz * yz) / np.sqrt((1 - xz**2) * (1 - yz**2)))
    # What clean accuracy orders alike, it explains.
    assert np.isnan(partial(x, y, x, ONE(40), np.ones((1, 40)))[0])


def test_an_estimate_has_interval_and_p_value_and_says_why_it_has_none():
    x = np.arange(30.0)
    y = x + 8 * np.random.default_rng(1).normal(size=30)
    found = estimate(kendall(x, y, ONE(30), resample(ONE(30))), 30)
    assert found.low < found.value < found.high
    assert found.p_value < 1e-3
    assert estimate(np.array([1.0, 1.0, 1.0]), 30).p_value == 0
    assert estimate(np.array([0.0, 0.0, 0.0]), 30).p_value == 1
    assert estimate(np.array([1.0, 1.0]), 4).reason == "4 of the 5 networks that it needs"
    assert "the same for all" in estimate(np.array([np.nan, np.nan]), 30).reason


def test_unrelated_quantities_are_significant_as_often_as_the_level_says():
    generator = np.random.default_rng(3)
    weights = resample(ONE(40), 300)
    found = [
        estimate(kendall(*generator.normal(size=(2, 40)), ONE(40), weights), 40).p_value < 0.05
        for _ in range(300)
    ]
    assert 0.02 < np.mean(found) < 0.09


def test_holm_multiplies_the_smallest_by_their_number_and_leaves_gaps():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([None]) == [None]
