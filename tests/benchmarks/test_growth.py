"""Exponents of growth, their plot, and one work measured in a process of its own."""

import pytest

from bench.charts import Line
from benchmarks.growth import Measured, exponent, measured, plot


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_the_exponent_is_that_of_a_power(power: float) -> None:
    sizes = [1.0, 2.0, 4.0, 8.0]
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power, abs=1e-9)


def test_works_are_drawn_over_their_smallest_size_beside_linear_growth() -> None:
    rows = [Measured(size, seconds=2 * size, megabytes=size - 50) for size in (50, 100, 200)]
    assert [
        [(mark.name, mark.x, mark.y) for mark in panel.marks if isinstance(mark, Line)]
        for panel in plot({"work": rows}).panels
    ] == [
        [("work", [1, 2, 4], [1, 2, 4]), ("linear", [1, 4], [1, 4])],
        [("work", [1, 2, 4], [None, 50, 150])],
    ]


def test_what_takes_no_memory_has_no_part_in_its_exponent() -> None:
    assert exponent([1.0, 2.0, 4.0], [0.0, 2.0, 4.0]) == pytest.approx(1)


@pytest.mark.slow
def test_a_work_is_measured_in_a_process_of_its_own() -> None:
    found = measured("regions", 200_000)
    assert found.size == 200_000
    assert found.seconds > 0
    # The patterns alone have 64 bytes each.
    assert found.megabytes > 200_000 * 64 / 1e6
