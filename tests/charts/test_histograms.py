import numpy as np
import pytest

from bench.charts.histograms import histograms


def test_groups_share_their_bins_and_each_adds_up_to_one():
    first, second = histograms({"a": np.array([0.0, 1.0, 1.0]), "b": np.array([4.0])}, bins=4)
    assert first.edges == second.edges == [0, 1, 2, 3, 4]
    assert first.values == pytest.approx([1 / 3, 2 / 3, 0, 0])
    assert second.values == [0, 0, 0, 1]
    assert (first.name, second.name) == ("a", "b")


def test_values_that_are_not_finite_and_groups_without_others_are_left_out():
    (only,) = histograms({"a": np.array([np.nan, 2.0]), "b": np.array([np.inf]), "c": np.array([])})
    assert (only.name, sum(only.values)) == ("a", 1)
    assert histograms({"a": np.array([np.nan])}) == []


def test_equal_values_fall_into_one_bin():
    (only,) = histograms({"a": np.full(5, 2.0)})
    assert max(only.values) == 1
