"""The numbers of a panel as a table for reading."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bench.charts.chart import Bars, Histogram, Line, Panel, Points
from bench.charts.numbers import number, within
from bench.charts.outlines import corners


@dataclass(frozen=True)
class DataTable:
    """A header and rows; the first cell of a row heads it."""

    header: list[str]
    rows: list[list[str]]


def data_table(panel: Panel) -> DataTable | None:
    """A column for each line, or where there are points, a row for each of them and for each point of a line.

    Bars and bins have a row each, and a column for each of several. None where there is nothing to list.
    """
    lines = [mark for mark in panel.marks if isinstance(mark, Line)]
    points = [mark for mark in panel.marks if isinstance(mark, Points)]
    areas = [mark for mark in panel.marks if isinstance(mark, Bars | Histogram)]
    if points:
        return _of_points(panel, points, lines)
    return _of_lines(panel, lines) if lines else _of_areas(panel, areas) if areas else None


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


def _of_areas(panel: Panel, areas: Sequence[Bars | Histogram]) -> DataTable:
    columns: list[dict[str, str]] = []
    for area in areas:
        if isinstance(area, Histogram):
            bins = [f"{number(low)} to {number(high)}" for low, high in pairwise(area.edges)]
            columns.append(dict(zip(bins, map(number, area.values), strict=True)))
            continue
        none: list[None] = [None] * len(area.values)
        found = zip(area.categories, area.values, area.low or none, area.high or none, strict=True)
        columns.append({name: _cell(y, low, high) for name, y, low, high in found if y is not None})
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [[name, *(column.get(name, "—") for column in columns)] for name in names]
    return DataTable([panel.x.label, *(area.name or panel.y.label for area in areas)], rows)


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
            rows.append([label or panel.y.name_of(y), mark.name, _cell(x, *across), _cell(y, *up)])
    for line in lines:
        rows += [
            [names.get((x, y), ""), line.name, number(x), number(y)]
            for x, y in corners(line)
            if y is not None and (not line.step or (x, y) in names)
        ]
    header = ["Point", "Series", panel.x.label, panel.y.label]
    if panel.y.tick_labels:
        return DataTable(header[:3], [row[:3] for row in rows])
    return DataTable(header, rows)


def _cell(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return number(value)
    return "{} ({} to {})".format(*(within(each, low, high) for each in (value, low, high)))
