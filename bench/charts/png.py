"""A chart as PNG: white paper, fixed fonts and sizes, so that the same chart gives the same bytes."""

import math
import textwrap
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib import patheffects, style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from bench.charts.chart import (
    Axis,
    Bars,
    Chart,
    Heatmap,
    Histogram,
    Line,
    Numbers,
    Panel,
    Points,
    Rule,
    Scale,
    Tiles,
)
from bench.charts.palette import (
    COLOURS,
    DIVERGING,
    SEQUENTIAL,
    category_colours,
    style_numbers,
)
from bench.charts.palette import style as look
from bench.charts.tiling import (
    NAMED_POINTS,
    cell_edges,
    is_log,
    panel_columns,
    tile_columns,
    tile_ratio,
    tiles_of,
)
from bench.core.files import replacing

DPI = 120
#: Inches of a panel, by how many stand side by side.
_WIDTHS, _HEIGHT = {1: 6.4, 2: 5.0, 3: 4.3}, 3.5
_TILE, _CAPTION = 1.15, 0.16  # inches
_CHARACTER = 0.072  # inches of an average letter at 9 points; only decides what is turned or wrapped
#: Beyond these, ticks at each category only hide each other.
_NAMED_TICKS = 40
_DASHES: tuple[tuple[int, tuple[float, ...]], ...] = ((0, (1, 1.5)), (0, (4, 2)), (0, (6, 2, 1, 2)))
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#D9D9D9",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    # Names may hold a dollar sign.
    "text.parse_math": False,
}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

Handles = dict[str, Artist]


def draw(chart: Chart, path: Path) -> None:
    """Write a chart as PNG, whole or not at all."""
    # A font without some script's letters draws boxes, which is no news to whoever reads the log.
    with replacing(path) as temporary, warnings.catch_warnings(), style.context(["default", _SETTINGS]):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = make_figure(chart)
        FigureCanvasAgg(figure).print_png(temporary, metadata={"Software": None})


def make_figure(chart: Chart) -> Figure:
    """A chart as matplotlib's figure, under the settings that are in force."""
    columns = panel_columns(chart.panels)
    rows = math.ceil(len(chart.panels) / columns)
    width, heights = _sizes(chart.panels, columns)
    title = _wrapped(chart.title, width, 12)
    spaced = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
    figure = Figure(dpi=DPI, layout=spaced, facecolor="white")
    grid = figure.add_gridspec(rows, columns, height_ratios=heights)
    numbers = style_numbers(chart)
    handles: Handles = {}
    for at, panel in enumerate(chart.panels):
        axes = figure.add_subplot(grid[at // columns, at % columns])
        _draw_panel(axes, panel, numbers, handles, width / columns)
    figure.suptitle(title, fontsize=12)
    height = sum(heights) + 0.25 * (title.count("\n") + 1)
    if handles:
        names = [_shortened(name, 48) for name in handles]
        across = max(1, int(width / (_CHARACTER * max(map(len, names)) + 0.7)))
        # Matplotlib leaves out names that begin with an underscore.
        names = [f" {name}" if name.startswith("_") else name for name in names]
        figure.legend(
            list(handles.values()),
            names,
            loc="outside lower center",
            ncols=min(across, len(names)),
            frameon=False,
        )
        height += 0.21 * math.ceil(len(names) / across)
    figure.set_size_inches(width, height)
    return figure


def _sizes(panels: list[Panel], columns: int) -> tuple[float, list[float]]:
    width = _WIDTHS[columns] * columns
    heights = []
    for start in range(0, len(panels), columns):
        heights.append(_HEIGHT + (0.3 if columns == 1 else 0))
        alone = tiles_of(panels[start]) if columns == 1 else None
        if alone:
            across = tile_columns(len(alone.captions))
            width = max(width, min(across * _TILE + 0.3, 12))
            down = math.ceil(len(alone.captions) / across)
            captions = _lines(alone, min(_TILE, 12 / across)) * _CAPTION
            heights[-1] = down * (tile_ratio(alone) * min(_TILE, 12 / across) + captions) + 0.35
    return width, heights


def _draw_panel(axes: Axes, panel: Panel, numbers: dict[str, int], handles: Handles, width: float) -> None:
    bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
    categories = list(dict.fromkeys(name for mark in bars for name in mark.categories))
    filled = any(isinstance(mark, Heatmap | Tiles) for mark in panel.marks)
    rules = 0
    axes.set_title("\n".join(textwrap.wrap(panel.title, max(12, int(width / _CHARACTER)))))
    if not filled:
        axes.grid(True)
    if is_log(panel, "x"):
        axes.set_xscale("log", nonpositive="clip")
    if is_log(panel, "y"):
        axes.set_yscale("log", nonpositive="clip")
    for mark in panel.marks:
        name = "" if isinstance(mark, Tiles) else mark.name
        number = numbers.get(name, 0)
        handle: Artist | None = None
        match mark:
            case Line():
                handle = _line(axes, panel, mark, number)
            case Points():
                handle = _points(axes, mark, number, filled)
            case Bars():
                handle = _bars(axes, mark, number, categories, bars.index(mark), len(bars))
            case Histogram():
                handle = _histogram(axes, mark, number)
            case Rule():
                handle, rules = _rule(axes, mark, rules), rules + 1
            case Heatmap():
                _heatmap(axes, panel, mark, handles)
            case Tiles():
                _tiles(axes, mark, width)
        if handle is not None and name:
            handles.setdefault(name, handle)
    _label(axes, panel, categories, width)


def _label(axes: Axes, panel: Panel, categories: list[str], width: float) -> None:
    if tiles_of(panel):
        return
    axes.set(xlabel=_wrapped(panel.x.label, width), ylabel=_wrapped(panel.y.label, _HEIGHT))
    sides: list[tuple[Axis, Literal["x", "y"], Any]] = [
        (panel.x, "x", axes.xaxis),
        (panel.y, "y", axes.yaxis),
    ]
    for axis, name, drawn in sides:
        if is_log(panel, name):
            low, high = getattr(axes, f"get_{name}lim")()
            drawn.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 200 else (1,)))
            drawn.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
            drawn.set_minor_formatter(NullFormatter())
        elif _whole(panel, name):
            drawn.set_major_locator(MaxNLocator(integer=True))
        ticks = [float(at) for at in range(len(categories))] if categories and name == "x" else axis.ticks
        labels = categories if categories and name == "x" else axis.tick_labels
        if ticks:
            # A square panel is narrower than its place, and a colour bar takes its part.
            _set_ticks(axes, name, ticks, labels, width * (0.7 if panel.square else 1.0))
        _set_ends(axes, name, axis)
    if panel.square:
        axes.set_aspect("equal", adjustable="box")


def _set_ticks(axes: Axes, name: str, ticks: list[float], labels: list[str], width: float) -> None:
    every = math.ceil(len(ticks) / _NAMED_TICKS)
    ticks, labels = ticks[::every], [_shortened(label, 32) for label in labels[::every]]
    if not labels:
        getattr(axes, f"set_{name}ticks")(ticks)
        return
    room = int(0.6 * width / len(ticks) / _CHARACTER) if name == "x" else 24
    words = max((len(word) for label in labels for word in label.split()), default=0)
    if words <= room:
        labels = ["\n".join(textwrap.wrap(label, room)) or label for label in labels]
    places = {} if words <= room else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    getattr(axes, f"set_{name}ticks")(ticks, labels=labels, **places)


def _set_ends(axes: Axes, name: str, axis: Axis) -> None:
    if axis.low is not None or axis.high is not None:
        low, high = getattr(axes, f"get_{name}lim")()
        ends = (low if axis.low is None else axis.low, high if axis.high is None else axis.high)
        if ends[0] != ends[1]:
            getattr(axes, f"set_{name}lim")(*ends)


def _line(axes: Axes, panel: Panel, mark: Line, number: int) -> Artist:
    shape, x, y = look(number), np.array(mark.x, float), _above(mark.y, is_log(panel, "y"))
    x = np.where(x > 0, x, np.nan) if is_log(panel, "x") else x
    colour = COLOURS[shape.colour]
    if mark.low and mark.high:
        low, high = (_above(ends, is_log(panel, "y")) for ends in (mark.low, mark.high))
        there = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        step: Literal["post"] | None = "post" if mark.step else None
        axes.fill_between(x, low, high, where=there, color=colour, alpha=0.18, linewidth=0, step=step)
    # A value between two gaps would be no line at all.
    seen = np.isfinite(x) & np.isfinite(y)
    alone = seen & ~np.append(False, seen[:-1]) & ~np.append(seen[1:], False)
    return axes.plot(
        x,
        y,
        color=colour,
        linestyle=shape.line,
        linewidth=1.6,
        marker=shape.marker if mark.markers or alone.any() else "",
        markersize=4.5,
        markevery=None if mark.markers else list(np.flatnonzero(alone)),
        drawstyle="steps-post" if mark.step else "default",
    )[0]


def _points(axes: Axes, mark: Points, number: int, over_map: bool) -> Artist:
    shape = look(number)
    drawn = axes.plot(
        mark.x,
        mark.y,
        color=COLOURS[shape.colour],
        linestyle="",
        marker=shape.marker,
        markersize=7 if over_map else 3 if len(mark.x) > 200 else 5,
        markeredgecolor="white",
        markeredgewidth=1 if over_map else 0.2 if len(mark.x) > 200 else 0.5,
    )[0]
    if len(mark.x) <= NAMED_POINTS:
        for x, y, label in zip(mark.x, mark.y, mark.labels, strict=False):
            axes.annotate(
                _shortened(label, 24),
                (x, y),
                xytext=(5, 4),
                textcoords="offset points",
                fontsize=8,
                path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
            )
    return drawn


def _bars(axes: Axes, mark: Bars, number: int, categories: list[str], place: int, abreast: int) -> Artist:
    shape, room = look(number), 0.8 / abreast
    kept = [at for at, value in enumerate(mark.values) if value is not None]
    x = [categories.index(mark.categories[at]) - 0.4 + room * (place + 0.5) for at in kept]
    values = [float(mark.values[at] or 0) for at in kept]
    axes.bar(
        x,
        values,
        0.94 * room,
        color=COLOURS[shape.colour],
        edgecolor="white",
        linewidth=0,
        hatch=shape.hatch or None,
    )
    if mark.low and mark.high:
        for at, middle, value in zip(kept, x, values, strict=True):
            low, high = mark.low[at], mark.high[at]
            if low is not None and high is not None:
                ends = [[max(value - low, 0)], [max(high - value, 0)]]
                axes.errorbar([middle], [value], yerr=ends, color="#333333", linewidth=1, capsize=2)
    axes.set_xlim(-0.6, len(categories) - 0.4)
    return Patch(facecolor=COLOURS[shape.colour], edgecolor="white", hatch=shape.hatch)


def _histogram(axes: Axes, mark: Histogram, number: int) -> Artist:
    shape = look(number)
    colour = COLOURS[shape.colour]
    axes.stairs(mark.values, mark.edges, fill=True, color=colour, alpha=0.25)
    axes.stairs(mark.values, mark.edges, color=colour, linestyle=shape.line, linewidth=1.4)
    drawn = Patch(facecolor=(*to_rgb(colour), 0.25), edgecolor=colour)
    drawn.set_linestyle(shape.line)  # type: ignore[arg-type]  # matplotlib's hint leaves dashes out
    return drawn


def _rule(axes: Axes, mark: Rule, number: int) -> Artist:
    drawn: Line2D = Line2D([], [], color="#555555", linewidth=1.1, linestyle=_DASHES[number % len(_DASHES)])
    for place, line in ((mark.x, axes.axvline), (mark.y, axes.axhline)):
        if place is not None:
            line(place, color=drawn.get_color(), linewidth=1.1, linestyle=_DASHES[number % len(_DASHES)])
    return drawn


def _heatmap(axes: Axes, panel: Panel, mark: Heatmap, handles: Handles) -> None:
    z = np.array([[np.nan if value is None else value for value in row] for row in mark.z], float)
    z = z.reshape(len(mark.y), len(mark.x))
    axes.set_facecolor("#DDDDDD")
    if z.size == 0 or not np.isfinite(z).any():
        return
    edges = cell_edges(mark.x, is_log(panel, "x")), cell_edges(mark.y, is_log(panel, "y"))
    if mark.scale == "categorical":
        _categories(axes, mark, z, edges, handles)
    else:
        low, high = _range(z, mark.scale)
        name = DIVERGING if mark.scale == "diverging" else SEQUENTIAL
        drawn = axes.pcolormesh(*edges, z, cmap=name, vmin=low, vmax=high)
        beside = axes.inset_axes((1.03, 0, 0.045, 1))
        bar = axes.figure.colorbar(drawn, cax=beside, label=_wrapped(mark.unit, _HEIGHT))
        bar.outline.set_visible(False)
    if mark.contour is not None and min(z.shape) > 1 and np.nanmin(z) < mark.contour < np.nanmax(z):
        for colour, wide in (("white", 2.4), ("black", 1.1)):
            axes.contour(mark.x, mark.y, z, levels=[mark.contour], colors=[colour], linewidths=[wide])


def _categories(
    axes: Axes, mark: Heatmap, z: np.ndarray, edges: tuple[list[float], list[float]], handles: Handles
) -> None:
    colours = category_colours()
    places = np.mod(np.round(z), len(colours))
    axes.pcolormesh(*edges, places, cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5)
    (xs, ys), lines = edges, []
    for row, column in np.argwhere(z[:, 1:] != z[:, :-1]):
        lines.append([(xs[column + 1], ys[row]), (xs[column + 1], ys[row + 1])])
    for row, column in np.argwhere(z[1:] != z[:-1]):
        lines.append([(xs[column], ys[row + 1]), (xs[column + 1], ys[row + 1])])
    # Where nearly every cell is a region of its own, the borders would hide the colours.
    if len(lines) < z.size / 2:
        axes.add_collection(LineCollection(lines, colors="black", linewidths=0.4), autolim=False)
    present = [int(value) for value in np.unique(np.round(z[np.isfinite(z)]))]
    for value in present if len(mark.names) <= len(colours) else []:
        if 0 <= value < len(mark.names):
            handles.setdefault(mark.names[value], Patch(facecolor=colours[value], edgecolor="black"))


def _tiles(axes: Axes, mark: Tiles, width: float) -> None:
    axes.set_axis_off()
    if not mark.captions:
        return
    columns = tile_columns(len(mark.captions))
    inch = width / columns  # of one picture's cell
    strip = _lines(mark, inch) * _CAPTION / min(inch, _TILE)
    down = tile_ratio(mark) + strip + 0.04
    for at, (caption, picture) in enumerate(zip(mark.captions, mark.values, strict=True)):
        left, top = at % columns, at // columns * down + strip
        pixels = np.array(picture, float)
        bottom = top + 0.92 * pixels.shape[0] / max(pixels.shape[1], 1)
        low, high = (0.0, 1.0) if pixels.ndim == 3 else _range(pixels, mark.scale)
        axes.imshow(
            pixels.clip(0, 1) if pixels.ndim == 3 else pixels,
            cmap=DIVERGING if mark.scale == "diverging" else "gray",
            vmin=low,
            vmax=high,
            extent=(left, left + 0.92, bottom, top),
            interpolation="nearest",
        )
        lines = textwrap.wrap(caption, _letters(inch))
        text = "\n".join([*lines[:1], _shortened(" ".join(lines[1:]), _letters(inch))]).strip()
        axes.text(left + 0.46, top - 0.03, text, ha="center", va="bottom", fontsize=7)
    axes.set(xlim=(-0.02, columns - 0.06), ylim=(math.ceil(len(mark.captions) / columns) * down, 0))
    axes.set_aspect("equal")


def _letters(inch: float) -> int:
    return max(6, int(inch / 0.062))


def _lines(mark: Tiles, inch: float) -> int:
    """Lines that the captions over pictures of this width need, two at most."""
    return 1 if all(len(caption) <= _letters(inch) for caption in mark.captions) else 2


def _range(z: np.ndarray, scale: Scale) -> tuple[float, float]:
    low, high = float(np.nanmin(z)), float(np.nanmax(z))
    if scale == "diverging":
        end = max(abs(low), abs(high)) or 1.0
        return -end, end
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _above(values: Numbers, log: bool) -> np.ndarray:
    numbers = np.array([np.nan if value is None else value for value in values], float)
    return np.where(numbers > 0, numbers, np.nan) if log else numbers


def _whole(panel: Panel, name: str) -> bool:
    """Whether everything along an axis is a whole number, as epochs and classes are."""
    lines = [mark for mark in panel.marks if isinstance(mark, Line | Points)]
    if not lines or len(lines) != len([mark for mark in panel.marks if not isinstance(mark, Rule)]):
        return False
    values = [value for mark in lines for value in getattr(mark, name) if value is not None]
    return bool(values) and all(float(value).is_integer() for value in values)


def _power(value: float) -> str:
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    times = "" if mantissa == "1" else f"{mantissa}·"
    return f"{times}10{str(int(exponent)).translate(_SUPERSCRIPT)}"


def _wrapped(text: str, width: float, size: float = 9) -> str:
    return "\n".join(textwrap.wrap(text, max(12, int(width / (_CHARACTER * size / 9)))))


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
