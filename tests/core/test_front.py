"""The Pareto front and the area below it, against brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.front import front_of, hypervolume, hypervolume_interval

#: Accuracies of a few settings on ten images, so that ties are frequent.
POINTS = st.lists(st.tuples(*[st.integers(0, 10).map(lambda count: count / 10)] * 2), min_size=1, max_size=6)


@given(POINTS)
def test_the_hypervolume_counts_the_cells_below_the_points(points: list[tuple[float, float]]) -> None:
    clean, robust = np.array(points).T
    cells = (np.arange(10) + 0.5) / 10
    below = ((clean > cells[:, None, None]) & (robust > cells[None, :, None])).any(axis=-1)
    assert hypervolume(clean, robust) == pytest.approx(below.mean())
    front = front_of(points)
    assert hypervolume(clean[front], robust[front]) == pytest.approx(below.mean())


@given(POINTS)
def test_the_front_holds_what_nothing_beats(points: list[tuple[float, float]]) -> None:
    front = set(front_of(points))
    for at, (x, y) in enumerate(points):
        beaten = any(a >= x and b >= y and (a, b) != (x, y) for a, b in points)
        assert (at in front) != beaten


def test_the_interval_of_one_setting_is_about_that_of_a_product_of_shares() -> None:
    generator = np.random.default_rng(0)
    difficulty = generator.random((400, 1))
    clean, robust = difficulty < 0.9, difficulty < 0.4
    low, high = hypervolume_interval(clean, robust, np.random.default_rng(1))
    # The delta method: Var(CR) for R ⊆ C.
    c, r, n = clean.mean(), robust.mean(), len(clean)
    variance = (r * r * c * (1 - c) + c * c * r * (1 - r) + 2 * r * c * r * (1 - c)) / n
    assert low == pytest.approx(c * r - 1.96 * variance**0.5, abs=0.01)
    assert high == pytest.approx(c * r + 1.96 * variance**0.5, abs=0.01)


def test_perfect_settings_have_an_interval_and_it_reaches_the_value() -> None:
    right = np.ones((50, 2), bool)
    low, high = hypervolume_interval(right, right, np.random.default_rng(0))
    assert 0.8 < low < 1.0
    assert high == 1.0
    low, high = hypervolume_interval(~right, ~right, np.random.default_rng(0))
    assert low == 0.0
    assert 0.0 < high < 0.05


def test_no_attacked_image_has_no_interval() -> None:
    with pytest.raises(ValueError, match="attacked images, got 0"):
        hypervolume_interval(np.ones((3, 1), bool), np.ones((0, 1), bool), np.random.default_rng(0))
