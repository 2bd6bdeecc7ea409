"""Predictions for a family that was held out, and broken networks that they overrate."""

import numpy as np
import pytest

from bench.study.prediction import (
    difference_of_errors,
    fooled,
    held_out,
    mean_error,
    mean_of_others,
    monotone,
)
from bench.study.ranks import resample

STRATA = np.array(["digits"] * 12 + ["mnist"] * 12)
FAMILIES = np.tile(np.repeat(["none", "penalty", "attack"], 4), 2)
X = np.tile(np.linspace(0, 1, 12), 2)


def test_a_quantity_that_is_robustness_is_off_by_what_lies_beyond_the_other_families():
    y = np.where(STRATA == "digits", X, 1 - X)  # rising on one data set, falling on the other
    predicted = held_out(X, y, STRATA, FAMILIES)
    inside = FAMILIES == "penalty"
    assert np.abs(predicted - y)[inside].max() < 4 / 11
    # The family at an end is predicted as the nearest network of the others.
    assert predicted[:4] == pytest.approx(4 / 11)
    assert predicted[12:16] == pytest.approx(1 - 4 / 11)


def test_the_held_out_family_and_the_other_data_have_no_influence():
    generator = np.random.default_rng(0)
    y = generator.random(24)
    predicted = held_out(X, y, STRATA, FAMILIES)
    changed = np.where((STRATA == "digits") & (FAMILIES == "none"), y, generator.random(24))
    changed[:12] = np.where(FAMILIES[:12] == "none", generator.random(12), y[:12])
    assert held_out(X, changed, STRATA, FAMILIES)[:4] == pytest.approx(predicted[:4])


def test_too_few_networks_and_missing_values_give_no_prediction():
    assert np.isnan(held_out(X[:4], X[:4], STRATA[:4], FAMILIES[:4])).all()
    x = X.copy()
    x[5] = np.nan
    assert np.flatnonzero(np.isnan(held_out(x, X, STRATA, FAMILIES))).tolist() == [5]
    assert np.isnan(mean_of_others(X[:6], STRATA[:6], FAMILIES[:6])).all()


def test_a_constant_quantity_predicts_the_mean_of_the_others():
    y = np.random.default_rng(0).random(24)
    assert held_out(np.ones(24), y, STRATA, FAMILIES) == pytest.approx(mean_of_others(y, STRATA, FAMILIES))


def test_errors_are_means_and_their_difference_is_of_the_networks_with_both():
    y, first, second = np.zeros(8), np.full(8, 0.1), np.full(8, -0.3)
    second[0] = np.nan
    weights = resample(np.zeros(8), 200)
    found = mean_error(second, y, weights)
    assert (found.value, found.n, found.p_value) == (pytest.approx(0.3), 7, None)
    apart = difference_of_errors(first, second, y, weights)
    assert (apart.value, apart.n) == (pytest.approx(-0.2), 7)


def test_a_network_is_overrated_beyond_what_honest_ones_are():
    honest = np.linspace(-0.1, 0.1, 101)
    found = fooled(
        np.array([0.5, 0.19, np.nan]), np.array([0.1, 0.1, 0.0]), ["a", "b", "c"], honest, np.zeros(101)
    )
    assert (found.names, found.measured) == (("a",), 2)
    x = np.arange(6.0)
    assert monotone(x, x, np.array([2.0, 9.0, np.nan])) == pytest.approx([2, 5, np.nan], nan_ok=True)
