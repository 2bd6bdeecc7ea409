"""The ranges of panels' marks, so that several panels can have the same axes."""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from bench.charts.chart import Axis, Bars, Heatmap, Histogram, Line, Mark, Panel, Points, Rule, Tiles
from bench.charts.tiling import cell_edges, is_log

Letter = Literal["x", "y"]
#: Share of an axis that stays free at an end that only the marks decide.
_MARGIN = 0.04
#: Share of an axis that is added where marks may lie on its given end.
_ROOM = 0.02


def roomy_ends(panel: Panel, letter: Letter) -> tuple[float | None, float | None]:
    """The ends set for a panel's axis, widened where marks may lie at 0, 1 or 100 %.

    Below bars that start at zero nothing is added.
    """
    axis = _axis(panel, letter)
    low, high = axis.low, axis.high
    if low is None or is_log(panel, letter):
        return low, high
    if any(isinstance(mark, Heatmap | Tiles) for mark in panel.marks):
        return low, high
    farthest = high if high is not None else _ends([panel], letter)[1]
    free = _ROOM * ((low if farthest is None else farthest) - low)
    standing = any(isinstance(mark, Bars | Histogram) for mark in panel.marks)
    return (
        low - free if low == 0 and not standing else low,
        high + free if high is not None and of_shares(axis) else high,
    )


def of_shares(axis: Axis) -> bool:
    """Whether an axis runs from 0 to 1, or to 100 %."""
    return axis.low == 0 and axis.high in (1, 100)


def label_places(panel: Panel, mark: Points) -> list[tuple[int, int]]:
    """Where the label of each point goes: -1 left, 0 centered or 1 right; and 1 above or -1 below.

    Labels point away from the sides of the panel; labels of points at the same height point away from each other.
    """
    places = []
    for x, y in zip(_shares(panel, "x", mark.x), _shares(panel, "y", mark.y), strict=True):
        across = 1 if x < 0.35 else -1 if x > 0.65 else 0
        up = 1 if y < 0.1 else -1 if y > 0.9 or across < 0 else 1
        places.append((across, up))
    return places


def _shares(panel: Panel, letter: Letter, values: Sequence[float]) -> list[float]:
    """The positions of values along an axis, from 0 to 1."""
    log = is_log(panel, letter)
    low, high = _ends([panel], letter)
    if low is None or high is None or low == high or (log and min(values, default=1) <= 0):
        return [0.5] * len(values)
    placed = [math.log(value) if log else value for value in (low, high, *values)]
    return [(value - placed[0]) / (placed[1] - placed[0]) for value in placed[2:]]


def shared_axes(panels: list[Panel]) -> list[Panel]:
    """The panels with common ends of their axes, wide enough for all of them.

    Axes keep their own ends where only some of them are logarithmic.
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
    reached = [value for panel in panels for value in reached_values(panel, letter, log)]
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


def reached_values(panel: Panel, letter: Letter, log: bool) -> list[float]:
    """Every value of a panel's marks that an axis can show."""
    values = [value for mark in panel.marks for value in _reach(mark, letter, log)]
    values += _stacked(panel, letter)
    return [value for value in values if math.isfinite(value) and (value > 0 or not log)]


def _stacked(panel: Panel, letter: Letter) -> list[float]:
    """The heights of stacked bars."""
    bars = [mark for mark in panel.marks if isinstance(mark, Bars) and mark.stacked]
    heights: dict[str, float] = {}
    for mark in bars if letter == "y" else []:
        for name, value in zip(mark.categories, mark.values, strict=True):
            heights[name] = heights.get(name, 0.0) + (value or 0.0)
    return [*heights.values()]


def _axis(panel: Panel, letter: Letter) -> Axis:
    return panel.x if letter == "x" else panel.y


def _reach(mark: Mark, letter: Letter, log: bool) -> Iterator[float]:
    """Every value of a mark along an axis; bars have none along x, where their categories are."""
    values: list[float | None] = []
    match mark:
        case Line():
            values = [*mark.x] if letter == "x" else [*mark.y, *mark.low, *mark.high]
        case Points():
            across, up = [*mark.x, *mark.x_low, *mark.x_high], [*mark.y, *mark.low, *mark.high]
            values = across if letter == "x" else up
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
