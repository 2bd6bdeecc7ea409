"""The arrangement of panels and small pictures, shared by all renderers."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from bench.charts.chart import Bars, Chart, Heatmap, Line, Panel, Tiles

#: More panels than these start a new row; so do more that belong together.
ABREAST, TOGETHER = 3, 4
#: Beyond these, labels beside points only hide each other.
NAMED_POINTS = 12


@dataclass(frozen=True)
class PanelRow:
    """Panels side by side.

    Attributes:
        panels: from left to right.
        places: how many fit; those on the right may be empty.
        together: they belong together.
    """

    panels: list[Panel]
    places: int
    together: bool


def panel_rows(chart: Chart) -> list[PanelRow]:
    """The panels row by row; panels that belong together start a new row, or fill several of equal length."""
    rows, start = [], 0
    for size in chart.rows or [len(chart.panels)]:
        together = chart.panels[start : start + size]
        places = _fitting(size) if chart.rows else panel_columns(together)
        rows += [
            PanelRow(together[at : at + places], places, bool(chart.rows)) for at in range(0, size, places)
        ]
        start += size
    return rows


def _fitting(panels: int) -> int:
    return math.ceil(panels / math.ceil(panels / TOGETHER))


def panel_columns(panels: list[Panel]) -> int:
    """How many panels stand side by side: three at most, four as two by two, a wide grid of pictures alone."""
    if any(tile_columns(len(tiles.captions)) > ABREAST for tiles in map(tiles_of, panels) if tiles):
        return 1
    return 2 if len(panels) == 4 else min(len(panels), ABREAST)


def tile_columns(pictures: int) -> int:
    """How many small pictures stand side by side: up to eight in one row, more in a grid twice as wide as high."""
    return pictures if pictures <= 8 else min(12, math.ceil(math.sqrt(2 * pictures)))


def tiles_of(panel: Panel) -> Tiles | None:
    """The small pictures that fill a panel, or None."""
    return next((mark for mark in panel.marks if isinstance(mark, Tiles) and mark.captions), None)


def many_lines(panel: Panel) -> bool:
    """Whether a panel's lines are so many that they are drawn thin."""
    return sum(isinstance(mark, Line) for mark in panel.marks) > 6


def is_log(panel: Panel, axis: Literal["x", "y"]) -> bool:
    """Whether an axis is logarithmic: never across bars, over pictures, or for cells at or below zero."""
    for mark in panel.marks:
        if isinstance(mark, Tiles) or (isinstance(mark, Bars) and axis == "x"):
            return False
        if isinstance(mark, Heatmap) and any(center <= 0 for center in getattr(mark, axis)):
            return False
    return bool(getattr(panel, axis).log)


def cell_edges(centers: list[float], log: bool = False) -> list[float]:
    """The ends of a heat map's cells [n + 1] around their centers [n]: half-way, on the axis' own scale."""
    places = [math.log(center) for center in centers] if log else centers
    if len(places) == 1:
        edges = [places[0] - 0.5, places[0] + 0.5]
    else:
        inner = [(left + right) / 2 for left, right in pairwise(places)]
        edges = [2 * places[0] - inner[0], *inner, 2 * places[-1] - inner[-1]]
    return [math.exp(edge) for edge in edges] if log else edges


def tile_ratio(tiles: Tiles) -> float:
    """Height over width of the tallest picture."""
    return max(len(picture) / max(len(picture[0]) if picture else 1, 1) for picture in tiles.values)
