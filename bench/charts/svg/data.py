"""The numbers of a panel as a table for reading."""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.charts.chart import Line, Panel, Points
from bench.charts.numbers import number, within
from bench.charts.outlines import corners


@dataclass(frozen=True)
class DataTable:
    """A header and rows; the first cell of a row heads it."""

    header: list[str]
    rows: list[list[str]]


def data_table(panel: Panel) -> DataTable:
    """A column for each line, or where there are points, a row for each of them and for each point of a line."""
    lines = [mark for mark in panel.marks if isinstance(mark, Line)]
    points = [mark for mark in panel.marks if isinstance(mark, Points)]
    return _of_points(panel, points, lines) if points else _of_lines(panel, lines)


def _of_lines(panel: Panel, lines: Sequence[Line]) -> DataTable:
    columns: list[dict[float, str]] = []
    for line in lines:
        lows, highs = (ends or [None] * len(line.x) for ends in (line.low, line.high))
        found = zip(line.x, line.y, lows, highs, strict=True)
        columns.append({x: _cell(y, low, high) for x, y, low, high in found if y is not None})
    xs = sorted({x for column in columns for x in column})
    names = [", ".join(filter(None, (line.name, line.detail))) or panel.y.label for line in lines]
    rows = [[number(x), *(column.get(x, "—") for column in columns)] for x in xs]
    return DataTable([panel.x.label, *names], rows)


def _of_points(panel: Panel, points: Sequence[Points], lines: Sequence[Line]) -> DataTable:
    rows, names = [], {}
    for mark in points:
        none: list[None] = [None] * len(mark.x)
        x_ends = zip(mark.x_low or none, mark.x_high or none, strict=True)
        y_ends = zip(mark.low or none, mark.high or none, strict=True)
        for x, y, label, across, up in zip(
            mark.x, mark.y, mark.labels or [""] * len(mark.x), x_ends, y_ends, strict=True
        ):
            names[x, y] = label
            rows.append([label, mark.name, _cell(x, *across), _cell(y, *up)])
    for line in lines:
        rows += [
            [names.get((x, y), ""), line.name, number(x), number(y)]
            for x, y in corners(line)
            if y is not None and (not line.step or (x, y) in names)
        ]
    return DataTable(["Point", "Series", panel.x.label, panel.y.label], rows)


def _cell(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return number(value)
    return "{} ({} to {})".format(*(within(each, low, high) for each in (value, low, high)))
