"""The axes of a panel in its drawing."""

import textwrap
from dataclasses import dataclass
from typing import Literal

from bench.charts.chart import Axis, Bars, Heatmap, Panel, Points
from bench.charts.svg.drawing import BOTTOM, LEFT, RIGHT, TOP, WIDTH
from bench.charts.svg.scale import Scale
from bench.charts.tiling import cell_edges, is_log
from bench.charts.words import shortened

#: Room for the color bar of a map, at its right, for names of points there, and for a letter of a label.
_COLOR_BAR, _NAMES, _LETTER = 62, 60, 7.2
#: Letters in a line of a name beside the y axis, their average width, and its height, at the 16 units of phones.
_LETTERS, _WIDE, NAME_LINE = 19, 9.2, 17


@dataclass(frozen=True)
class Frame:
    """The scales of both axes, the ends of what lies between them, and the width of all."""

    x: Scale
    y: Scale
    left: float
    right: float
    top: float
    bottom: float
    width: float


def frame(panel: Panel) -> Frame:
    """Axes that fill the drawing, or have equal units where the panel is square."""
    panel = _with_ends(panel)
    maps = [mark for mark in panel.marks if isinstance(mark, Heatmap)]
    bar = any(mark.scale != "categorical" for mark in maps)
    right: float = RIGHT - _COLOR_BAR if bar else RIGHT
    top: float = TOP
    names = [name_lines(name) for name in panel.y.tick_labels]
    left = max([LEFT, *(_WIDE * len(line) + 8 for lines in names for line in lines)])
    bottom = max(BOTTOM, top + len(names) * (4 + NAME_LINE * max(map(len, names), default=0)))
    x, y = Scale(panel, "x", left, right), Scale(panel, "y", bottom, top)
    if panel.square and not x.log and not y.log:
        share = (x.at(1) - x.at(0)) / (y.at(0) - y.at(1))
        if share > 1:
            right = left + (right - left) / share
            x = Scale(panel, "x", left, right)
        else:
            top = bottom - (bottom - top) * share
            y = Scale(panel, "y", bottom, top)
    beside = WIDTH - (RIGHT - _COLOR_BAR if bar else RIGHT)
    labels = _LETTER * max(len(panel.x.label), len(panel.y.label), len(panel.title)) + 22
    room = _NAMES if any(isinstance(mark, Points) for mark in panel.marks) and not bar else 0
    width = min(WIDTH, max(right + beside + room, labels))
    return Frame(x, y, left, right, top, bottom, width)


def categories_of(panel: Panel) -> list[str]:
    """The names below the bars of a panel."""
    bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
    return list(dict.fromkeys(name for mark in bars for name in mark.categories))


def name_lines(name: str) -> list[str]:
    """A name beside the y axis in one line or two."""
    first, *more = textwrap.wrap(name, _LETTERS) or [""]
    return [first, shortened(" ".join(more), _LETTERS)] if more else [first]


def _with_ends(panel: Panel) -> Panel:
    """A panel whose axes end with the cells of its map, or half-way beside its first and last bar."""
    maps = [mark for mark in panel.marks if isinstance(mark, Heatmap) and mark.x and mark.y]
    changes: dict[str, Axis] = {}
    letters: tuple[Literal["x", "y"], ...] = ("x", "y")
    for letter in letters if maps else ():
        edges = [edge for mark in maps for edge in cell_edges(getattr(mark, letter), is_log(panel, letter))]
        axis: Axis = getattr(panel, letter)
        low = min(edges) if axis.low is None else axis.low
        high = max(edges) if axis.high is None else axis.high
        changes[letter] = axis.model_copy(update={"low": low, "high": high})
    names = categories_of(panel)
    if names:
        ticks = [float(at) for at in range(len(names))]
        ends = {"low": -0.6, "high": len(names) - 0.4, "ticks": ticks, "tick_labels": names, "log": False}
        changes["x"] = panel.x.model_copy(update=ends)
    return panel.model_copy(update=changes)
