"""Which charts boards and entries show, and the mathematics behind them."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.charts import Chart, Line, Points, Rule
from leaderboards.board import Board, make_boards
from leaderboards.charts import battery_charts, front_charts, history_charts
from leaderboards.entry import Entry
from leaderboards.pages import Pages
from leaderboards.result import read_result, read_results
from leaderboards.scatter import pareto_front, trade_off_charts
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
    front, low, high = lines(clean)
    assert low.name == high.name == "Front of the intervals’ ends"
    assert front.name == "Pareto front"
    assert front.x == sorted(front.x)
    assert front.y == sorted(front.y, reverse=True)
    assert lines(time) == []
    (trend,) = lines(prs)
    assert len(trend.x) == 2
    assert "slope" in prs.caption
    assert " to " in prs.caption
    assert "p " in prs.caption
    assert time.panels[0].x.log


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
