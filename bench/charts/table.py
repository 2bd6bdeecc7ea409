"""A chart as a table of every number that is drawn: a row for each, or for each row of a grid."""

from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any

from bench.charts.chart import Bars, Chart, Heatmap, Histogram, Line, Mark, Points, Rule, Tiles
from bench.core.files import csv_text, spreadsheet_text

#: `x_end` closes a bin; `channel` counts red, green, blue from 0.
COLUMNS = (
    "panel",
    "title",
    "mark",
    "kind",
    "name",
    "label",
    "x",
    "x_end",
    "y",
    "low",
    "high",
    "channel",
)

#: Further columns of charts with intervals along x.
X_ENDS = ("x_low", "x_high")

TableRow = dict[str, Any]


def table(chart: Chart) -> str:
    """The chart as CSV; panels and marks are counted from 1, a value that is not there is empty.

    The values of maps and pictures are in the columns `z0`, `z1`, …, a row for each of theirs. A map begins with a
    row labeled "x", the places of its columns, and with one labeled "names" where its values 0, 1, … have names.
    """
    rows: list[TableRow] = []
    for panel_number, panel in enumerate(chart.panels, 1):
        for number, mark in enumerate(panel.marks, 1):
            shared = {
                "panel": panel_number,
                "title": spreadsheet_text(panel.title),
                "mark": number,
                "kind": mark.kind,
                "name": spreadsheet_text(getattr(mark, "name", "")),
            }
            rows += ({**shared, **row} for row in _rows(mark))
    used = {name: None for row in rows for name in row}
    return csv_text([*COLUMNS, *(name for name in used if name not in COLUMNS)], rows)


def _rows(mark: Mark) -> Iterator[TableRow]:
    match mark:
        case Line():
            for x, y, low, high in zip_longest(mark.x, mark.y, mark.low, mark.high):
                yield {"x": x, "y": y, "low": low, "high": high, "label": spreadsheet_text(mark.detail)}
        case Points():
            ends = {name: getattr(mark, name) for name in ("low", "high", *X_ENDS) if getattr(mark, name)}
            for at, (x, y, label) in enumerate(zip_longest(mark.x, mark.y, mark.labels, fillvalue="")):
                own = {name: values[at] for name, values in ends.items()}
                yield {"x": x, "y": y, "label": spreadsheet_text(str(label)), **own}
        case Bars():
            for label, y, low, high in zip_longest(mark.categories, mark.values, mark.low, mark.high):
                yield {"label": spreadsheet_text(str(label)), "y": y, "low": low, "high": high}
        case Histogram():
            for x, end, y in zip(mark.edges, mark.edges[1:], mark.values, strict=False):
                yield {"x": x, "x_end": end, "y": y}
        case Heatmap():
            yield {"label": "x", **_across(mark.x)}
            if mark.names:
                yield {"label": "names", **_across(map(spreadsheet_text, mark.names))}
            yield from ({"y": y, **_across(row)} for y, row in zip(mark.y, mark.z, strict=True))
        case Tiles():
            yield from _pixels(mark)
        case Rule():
            yield {"x": mark.x, "y": mark.y}


def _pixels(tiles: Tiles) -> Iterator[TableRow]:
    pictures: list[list[list[Any]]] = [*tiles.values]
    for caption, picture in zip(tiles.captions, pictures, strict=True):
        for y, row in enumerate(picture):
            place = {"label": spreadsheet_text(caption), "y": y}
            if isinstance(row[0], list):
                yield from (
                    {**place, "channel": at, **_across(one)} for at, one in enumerate(zip(*row, strict=True))
                )
            else:
                yield {**place, **_across(row)}


def _across(values: Iterable[Any]) -> TableRow:
    return {f"z{at}": value for at, value in enumerate(values)}


def category_name(mark: Heatmap, z: float | None) -> str:
    """What an integer of a categorical map means; empty where nothing says so."""
    if z is None or mark.scale != "categorical" or not float(z).is_integer() or not 0 <= z < len(mark.names):
        return ""
    return mark.names[int(z)]
