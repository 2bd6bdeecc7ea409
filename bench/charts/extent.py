"""How far the marks of panels reach, so that several panels can have the same axes."""

import math
from collections.abc import Iterator
from typing import Literal

from bench.charts.chart import Axis, Bars, Heatmap, Histogram, Line, Mark, Panel, Points, Rule, Tiles
from bench.charts.tiling import cell_edges, is_log

Letter = Literal["x", "y"]
#: Share of an axis that stays free at an end that only the marks decide.
_MARGIN = 0.04


def shared_axes(panels: list[Panel]) -> list[Panel]:
    """The panels with the same ends of their axes, as far as any of them reaches.

    Axes of which only some are logarithmic keep their own ends.
    """
    changes: dict[Letter, tuple[float | None, float | None]] = {}
    letters: tuple[Letter, Letter] = ("x", "y")
    for letter in letters:
        if len({is_log(panel, letter) for panel in panels}) == 1:
            changes[letter] = _ends(panels, letter)

    def changed(panel: Panel) -> Panel:
        return panel.model_copy(
            update={
                letter: _axis(panel, letter).model_copy(update={"low": low, "high": high})
                for letter, (low, high) in changes.items()
            }
        )

    return [changed(panel) for panel in panels]


def _ends(panels: list[Panel], letter: Letter) -> tuple[float | None, float | None]:
    log = is_log(panels[0], letter)
    axes = [_axis(panel, letter) for panel in panels]
    reached = [
        value
        for panel in panels
        for mark in panel.marks
        for value in _reach(mark, letter, log)
        if math.isfinite(value) and (value > 0 or not log)
    ]
    given = {end: [getattr(axis, end) for axis in axes] for end in ("low", "high")}
    if not reached:
        return axes[0].low, axes[0].high
    low, high = min(reached), max(reached)
    margin = 0.0 if any(isinstance(mark, Heatmap) for panel in panels for mark in panel.marks) else _MARGIN
    places = (math.log(low), math.log(high)) if log else (low, high)
    free = margin * ((places[1] - places[0]) or 1.0)
    lowest, highest = places[0] - free, places[1] + free
    if log:
        lowest, highest = math.exp(lowest), math.exp(highest)
    if low == 0 and any(isinstance(mark, Bars | Histogram) for panel in panels for mark in panel.marks):
        lowest = 0.0  # bars stand on the axis
    return (
        lowest if None in given["low"] else min(given["low"]),
        highest if None in given["high"] else max(given["high"]),
    )


def _axis(panel: Panel, letter: Letter) -> Axis:
    return panel.x if letter == "x" else panel.y


def _reach(mark: Mark, letter: Letter, log: bool) -> Iterator[float]:
    """Every value of a mark along an axis; of bars along x there is none, they stand at their categories."""
    values: list[float | None] = []
    match mark:
        case Line():
            values = [*mark.x] if letter == "x" else [*mark.y, *mark.low, *mark.high]
        case Points():
            values = [*(mark.x if letter == "x" else mark.y)]
        case Bars():
            values = [] if letter == "x" else [0.0, *mark.values, *mark.low, *mark.high]
        case Histogram():
            values = [*mark.edges] if letter == "x" else [0.0, *mark.values]
        case Heatmap():
            values = [*cell_edges(mark.x if letter == "x" else mark.y, log)]
        case Rule():
            values = [mark.x if letter == "x" else mark.y]
        case Tiles():
            pass
    yield from (value for value in values if value is not None)
