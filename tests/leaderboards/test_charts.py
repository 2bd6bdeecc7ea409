import re

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from leaderboards.axes import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, tick_values
from leaderboards.charts import Chart, Dot, Series, least_squares, line_chart, pareto_front, scatter_chart

numbers = st.floats(-1e9, 1e9)
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)


def lines(chart: Chart) -> list[str]:
    return [path.d for path in chart.paths if path.kind == "line"]


def starts(chart: Chart, kind: str) -> list[tuple[float, float]]:
    found = [re.match(r"M(-?[\d.]+) (-?[\d.]+)", path.d) for path in chart.paths if path.kind == kind]
    return [(float(match[1]), float(match[2])) for match in found if match]


@given(numbers, st.floats(1e-6, 1e9))
def test_ticks_are_evenly_spaced_and_enclose_the_data(low: float, span: float) -> None:
    assume(span > 1e-9 * abs(low))
    ticks = tick_values(low, low + span)
    steps = np.diff(ticks)
    slack = 1e-6 * span + 1e-9 * abs(low)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= low + span - slack
    assert steps == pytest.approx(steps[0], abs=slack)
    assert 3 <= len(ticks) <= 9


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1, 12, [0, 2, 4, 6, 8, 10, 12]),
        (-0.4, 0.3, [-0.4, -0.2, 0, 0.2, 0.4]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[float]) -> None:
    assert tick_values(low, high) == ticks


@given(points)
def test_every_point_lies_inside_the_axes(data: list[tuple[float, float]]) -> None:
    chart = scatter_chart(
        "t", "d", [Dot("name", "net", x, y) for x, y in data], "x", "y", front=True, trend=True
    )
    marks = starts(chart, "dot")
    assert len(marks) == len(data)
    for x, y in marks:
        assert LEFT <= x <= RIGHT
        assert TOP <= y <= BOTTOM


def test_a_line_goes_through_its_points() -> None:
    chart = line_chart("t", "d", [Series("a", [(0, 0), (5, 50), (10, 100)])], "x", "y")
    middle = f"{(LEFT + RIGHT) / 2:g} {(TOP + BOTTOM) / 2:g}"
    assert lines(chart) == [f"M{LEFT} {BOTTOM}L{middle}L{RIGHT} {TOP}"]


def test_lines_of_one_name_share_a_style_and_a_place_in_the_legend() -> None:
    series = [
        Series("accuracy", [(1, 1), (2, 2)], detail="seed 0"),
        Series("loss", [(1, 3), (2, 1)], detail="seed 0"),
        Series("accuracy", [(1, 2), (2, 3)], detail="seed 1"),
    ]
    chart = line_chart("t", "d", series, "epoch", "y")
    assert [name for name, _, _ in chart.legend] == ["accuracy", "loss"]
    assert [path.style for path in chart.paths if path.kind == "line"] == ["s0", "s1", "s0"]
    assert chart.header == ("epoch", "accuracy, seed 0", "loss, seed 0", "accuracy, seed 1")


def test_the_table_holds_every_point_and_a_dash_where_a_line_has_none() -> None:
    series = [Series("a", [(1, 10), (2, 20)], [(9, 11), None]), Series("b", [(2, 5)])]
    chart = line_chart("t", "d", series, "x", "y")
    assert chart.rows == (("1", "10 (9 to 11)", "—"), ("2", "20", "5"))


def test_what_is_no_finite_number_is_left_out() -> None:
    wild = Series("a", [(0, 1), (1, 1e300), (2, 2), (float("inf"), 3)])
    chart = line_chart("t", "d", [wild], "x", "y")
    assert len(chart.rows) == 2
    with pytest.raises(ValueError, match="nothing to draw"):
        line_chart("t", "d", [Series("a", [(0, float("nan"))])], "x", "y")


def test_a_constant_and_a_single_point_can_be_drawn() -> None:
    for data in ([(3, 7)], [(1, 0), (2, 0)], [(1, 1e-320), (2, 0)]):
        chart = line_chart("t", "d", [Series("a", data)], "x", "y")
        assert all(TOP <= y <= BOTTOM for _, y in starts(chart, "dot"))


def test_epochs_have_whole_ticks_and_fractions_do_not() -> None:
    def labels(data: list[tuple[float, float]]) -> list[str]:
        chart = line_chart("t", "d", [Series("a", data)], "x", "y")
        return [tick.text for tick in chart.ticks if tick.anchor == "middle"]

    assert labels([(1, 5), (2, 6), (3, 7)]) == ["1", "2", "3"]
    assert labels([(0, 5), (1, 6)]) == ["0", "0.2", "0.4", "0.6", "0.8", "1"]


def test_the_mark_stands_at_its_x() -> None:
    chart = line_chart("t", "d", [Series("a", [(0, 0), (10, 1)])], "x", "y", mark=(5, "here"))
    (mark,) = [path for path in chart.grid if path.kind == "mark"]
    x = (LEFT + RIGHT) / 2
    assert mark.d == f"M{x:g} {BOTTOM}L{x:g} {TOP}"
    assert [label.text for label in chart.labels] == ["here"]


def test_the_same_numbers_give_the_same_drawing() -> None:
    rng = np.random.default_rng(0)
    dots = [Dot(f"d{i}", f"n{i % 3}", *map(float, rng.random(2))) for i in range(20)]
    assert scatter_chart("t", "d", dots, "x", "y") == scatter_chart("t", "d", list(dots), "x", "y")


@given(points)
def test_the_front_is_what_no_other_point_dominates(data: list[tuple[float, float]]) -> None:
    front = pareto_front(data)

    def dominated(point: tuple[float, float]) -> bool:
        return any(x >= point[0] and y >= point[1] and (x, y) != point for x, y in data)

    assert {data[at] for at in front} == {point for point in data if not dominated(point)}
    assert [data[at][0] for at in front] == sorted(data[at][0] for at in front)


def test_the_trend_is_the_least_squares_line() -> None:
    rng = np.random.default_rng(1)
    data = [(float(x), float(y)) for x, y in rng.random((30, 2))]
    assert least_squares(data) == pytest.approx(tuple(np.polyfit(*np.array(data).T, 1)))
    assert least_squares(data[:2]) is None
    assert least_squares([(1, 1), (1, 2), (1, 3)]) is None


def test_names_do_not_cover_each_other_or_leave_the_drawing() -> None:
    rng = np.random.default_rng(2)
    dots = [Dot(f"defense number {i}", "net", *map(float, rng.random(2) * 0.2)) for i in range(60)]
    chart = scatter_chart("t", "d", dots, "x", "y")
    boxes = []
    for label in chart.labels:
        width = 6.6 * len(label.text)
        left = float(label.x) - {"start": 0, "middle": width / 2, "end": width}[label.anchor]
        boxes.append((left, float(label.y) - 10, left + width, float(label.y) + 2))
    assert len(boxes) > 3
    for at, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0
        assert top >= 0
        assert right <= WIDTH + 0.1
        assert bottom <= HEIGHT
        for other in boxes[at + 1 :]:
            beside = left >= other[2] - 0.1 or right <= other[0] + 0.1
            assert beside or bottom <= other[1] + 0.1 or top >= other[3] - 0.1
