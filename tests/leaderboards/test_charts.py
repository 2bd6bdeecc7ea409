"""Which charts boards and entries show, and the mathematics behind them."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.charts import Chart, Line, Points, Rule
from leaderboards.board import Board, make_boards
from leaderboards.charts import battery_charts, front_charts, history_charts
from leaderboards.entry import Entry
from leaderboards.front import front, pareto_front
from leaderboards.pages import Pages
from leaderboards.result import read_result, read_results
from leaderboards.scatter import trade_off_charts
from tests.records import make_record, search_with_front, write_record

numbers = st.floats(-1e9, 1e9)
points = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)
CURVE: dict[str, Any] = {
    "x_label": "ε",
    "y_label": "accuracy",
    "n": 9,
    "points": [{"x": 0, "value": 0.9}],
}


def entry_of(folder: Path, **changes: Any) -> Entry:
    return Entry((read_result(write_record(folder, make_record(**changes))),))


def lines(chart: Chart) -> list[Line]:
    return [mark for mark in chart.panels[0].marks if isinstance(mark, Line)]


@pytest.fixture(scope="module")
def board(sample: list[Path]) -> Board:
    (board,) = make_boards(read_results(sample)[0])
    return board


def test_trade_offs_show_every_entry_with_its_intervals(board: Board) -> None:
    charts = {chart.panels[0].x.label: chart for chart in trade_off_charts(board)}
    assert list(charts) == ["Clean accuracy, %", "Seconds per epoch", "PRS ratio"]
    marks = [mark for mark in charts["Clean accuracy, %"].panels[0].marks if isinstance(mark, Points)]
    assert [mark.name for mark in marks] == ["cnn6", "resnet18", "vgg16"]
    assert sum(len(mark.labels) for mark in marks) == len(board.entries)
    for mark in marks:
        for low, x, high in zip(mark.x_low, mark.x, mark.x_high, strict=True):
            assert low is not None
            assert high is not None
            assert low <= x <= high
    best = board.entries[0]
    assert best.worst_case is not None
    assert max(y for mark in marks for y in mark.y) == pytest.approx(100 * (best.worst_case.mean or 0))


def test_the_front_and_the_trend_are_lines_of_their_charts(board: Board) -> None:
    clean, time, prs = trade_off_charts(board)
    (front,) = lines(clean)
    assert front.name == "Pareto front"
    assert front.x == sorted(front.x)
    heights = [y for y in front.y if y is not None]
    assert heights == sorted(heights, reverse=True)
    assert lines(time) == []
    (trend,) = lines(prs)
    assert len(trend.x) == 2
    assert all(0 <= height <= 100 for height in trend.y if height is not None)
    assert "slope" in prs.caption
    assert " to " in prs.caption
    assert "p\N{NO-BREAK SPACE}" in prs.caption
    assert time.panels[0].x.log


def test_an_entry_in_doubt_is_on_no_front(board: Board) -> None:
    places = {
        entry.page: (entry.scores["clean_accuracy"].mean or 0, entry.worst_case.mean or 0)
        for entry in board.entries
        if entry.worst_case
    }
    best = pareto_front(*zip(*places.values(), strict=True))
    fronts = [list(places)[at] for at in best]
    doubted = [entry for entry in board.entries if entry.page in fronts and entry.in_doubt]
    assert doubted
    chart = trade_off_charts(board)[0]
    (steps,) = lines(chart)
    assert not {100 * places[entry.page][1] for entry in doubted} & set(steps.y)
    labels = [each for mark in chart.panels[0].marks if isinstance(mark, Points) for each in mark.labels]
    assert all(f"({entry.defense.name})" in labels for entry in doubted)
    assert "In parentheses: in doubt" in chart.caption


def test_one_entry_is_no_trade_off(sample: list[Path]) -> None:
    (board,) = make_boards(read_results(sample[:1])[0])
    assert trade_off_charts(board) == []


def test_a_history_has_a_line_for_each_seed_and_quantity(sample: list[Path]) -> None:
    entry = Entry(tuple(map(read_result, sample[:3])))
    accuracy, loss = history_charts(entry)
    assert (accuracy.title, loss.title) == ("Accuracy by epoch", "Loss by epoch")
    assert [line.detail for line in lines(loss)] == ["seed 0", "seed 1", "seed 2"]
    assert {line.name for line in lines(accuracy)} == {
        "train accuracy",
        "validation accuracy",
        "validation robust accuracy",
    }


def test_what_is_no_number_that_fits_on_an_axis_is_left_out(tmp_path: Path) -> None:
    history = [{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 1e300}]
    (chart,) = history_charts(entry_of(tmp_path / "a", history=history))
    assert [(line.x, line.y) for line in lines(chart)] == [([1.0], [1.0])]
    wild = {**CURVE, "points": [{"x": 0, "value": -1e300}]}
    assert battery_charts(entry_of(tmp_path / "b", curves={"convexity": wild})) == []


def test_the_security_curve_has_its_interval_and_marks_the_threat(sample: list[Path]) -> None:
    (chart,) = battery_charts(Entry((read_result(sample[0]),)))
    (line,) = lines(chart)
    assert (line.name, len(line.low), line.markers) == ("seed 0", len(line.x), True)
    (rule,) = [mark for mark in chart.panels[0].marks if isinstance(mark, Rule)]
    assert rule.x == pytest.approx(8 / 255)


def test_curves_of_a_metrics_parts_are_left_to_its_figure(tmp_path: Path) -> None:
    names = ("major_groups/major/fgsm", "convexity", "security", "major_groups/extra/fgsm")
    charts = battery_charts(entry_of(tmp_path, curves=dict.fromkeys(names, CURVE)))
    assert [chart.title for chart in charts] == ["Security curve", "Convexity"]


@given(points)
def test_the_front_is_what_no_other_point_dominates(data: list[tuple[float, float]]) -> None:
    front = pareto_front([x for x, _ in data], [y for _, y in data])

    def dominated(point: tuple[float, float]) -> bool:
        return any(x >= point[0] and y >= point[1] and (x, y) != point for x, y in data)

    assert {data[at] for at in front} == {point for point in data if not dominated(point)}
    assert [data[at][0] for at in front] == sorted(data[at][0] for at in front)


uncertain = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(0, 9), st.integers(0, 9)),
    min_size=2,
    max_size=9,
)


@given(uncertain)
def test_the_steps_of_a_front_are_the_most_that_is_reached(data: list[tuple[int, int, int, int]]) -> None:
    x, y = ([float(one[at]) for one in data] for at in (0, 1))
    ends = {
        "low": [b - d for _, b, _, d in data],
        "high": [b + d for _, b, _, d in data],
        "x_low": [a - c for a, _, c, _ in data],
        "x_high": [a + c for a, _, c, _ in data],
    }
    found, _ = front([Points(x=x, y=y, **{name: [*map(float, values)] for name, values in ends.items()})])
    if len(pareto_front(x, y)) < 2:
        assert found == []
        return
    (steps,) = found
    for at, (left, right) in enumerate(pairwise(steps.x)):
        between = (left + right) / 2
        assert steps.y[at] == max(
            (b for a, b in zip(x, y, strict=True) if a >= between), default=None
        ) or left == max(x)
        highest = [b for a, b in zip(ends["x_high"], ends["high"], strict=True) if a >= between]
        assert steps.high[at] == max(highest)
        lowest = [b for a, b in zip(ends["x_low"], ends["low"], strict=True) if a >= between]
        assert steps.low[at] == max(lowest, default=0) or left == max(ends["x_low"])


def test_a_front_is_a_column_a_table_and_a_chart(tmp_path: Path) -> None:
    search = {"search": search_with_front(), "hyperparameters": {"weight": 2.0}}
    paths = [
        write_record(tmp_path / "front", make_record(id="front", defense=search)),
        write_record(tmp_path / "other", make_record(id="other", model="vgg16")),
    ]
    (board,) = make_boards(read_results(paths)[0])
    column = next(each for each in board.choices["Search"] if each.metric == "hypervolume")
    assert not column.default
    entry = next(each for each in board.entries if "hypervolume" in each.scores)
    assert (entry.scores["hypervolume"].low, entry.scores["hypervolume"].high) == (0.3, 0.6)
    (chart,) = front_charts(entry)
    others, chosen = (mark for mark in chart.panels[0].marks if isinstance(mark, Points))
    assert (others.x, others.y, chosen.x, chosen.y) == ([95.0], [20.0], [90.0], [40.0])
    assert chosen.labels == ["trial 3, weight = 2"]
    page = Pages({}, {}).entry(board, entry)
    for words in ("Front of the search", "2 settings; hypervolume 0.370", "the most robust: clean accuracy"):
        assert words in page
    without = next(each for each in board.entries if each != entry)
    assert front_charts(without) == []


def test_a_board_without_a_front_has_no_such_column(board: Board) -> None:
    assert "hypervolume" not in [column.metric for column in (*board.more_columns, *board.empty_columns)]
