"""A chart as a table: every number that is drawn, one row each."""

import csv
import io
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

from bench.charts.chart import Bars, Chart, Heatmap, Histogram, Line, Mark, Points, Rule, Tiles

#: `x_end` closes a bin; `z` is the value of a cell or a pixel; `channel` counts red, green, blue from 0.
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
    "z",
    "channel",
)

Row = dict[str, Any]


def table(chart: Chart) -> str:
    """The chart as CSV in long form; panels and marks are counted from 1, a value that is not there is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=COLUMNS, lineterminator="\n")
    writer.writeheader()
    for panel_number, panel in enumerate(chart.panels, 1):
        for number, mark in enumerate(panel.marks, 1):
            shared = {
                "panel": panel_number,
                "title": _text(panel.title),
                "mark": number,
                "kind": mark.kind,
                "name": _text(getattr(mark, "name", "")),
            }
            writer.writerows({**shared, **row} for row in _rows(mark))
    return stream.getvalue()


def _rows(mark: Mark) -> Iterator[Row]:
    match mark:
        case Line():
            for x, y, low, high in zip_longest(mark.x, mark.y, mark.low, mark.high):
                yield {"x": x, "y": y, "low": low, "high": high, "label": _text(mark.detail)}
        case Points():
            for x, y, label in zip_longest(mark.x, mark.y, mark.labels, fillvalue=""):
                yield {"x": x, "y": y, "label": _text(str(label))}
        case Bars():
            for label, y, low, high in zip_longest(mark.categories, mark.values, mark.low, mark.high):
                yield {"label": _text(str(label)), "y": y, "low": low, "high": high}
        case Histogram():
            for x, end, y in zip(mark.edges, mark.edges[1:], mark.values, strict=False):
                yield {"x": x, "x_end": end, "y": y}
        case Heatmap():
            for y, row in zip(mark.y, mark.z, strict=True):
                for x, z in zip(mark.x, row, strict=True):
                    yield {"x": x, "y": y, "z": z, "label": _text(category_name(mark, z))}
        case Tiles():
            yield from _pixels(mark)
        case Rule():
            yield {"x": mark.x, "y": mark.y}


def _pixels(tiles: Tiles) -> Iterator[Row]:
    pictures: list[list[list[Any]]] = [*tiles.values]
    for caption, picture in zip(tiles.captions, pictures, strict=True):
        for y, row in enumerate(picture):
            for x, pixel in enumerate(row):
                place = {"label": _text(caption), "x": x, "y": y}
                if isinstance(pixel, list):
                    yield from ({**place, "z": value, "channel": at} for at, value in enumerate(pixel))
                else:
                    yield {**place, "z": pixel}


def category_name(mark: Heatmap, z: float | None) -> str:
    """What an integer of a categorical map means; empty where nothing says so."""
    if z is None or mark.scale != "categorical" or not float(z).is_integer() or not 0 <= z < len(mark.names):
        return ""
    return mark.names[int(z)]


def _text(text: str) -> str:
    # A spreadsheet would run a cell that starts like a formula.
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
