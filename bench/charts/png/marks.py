"""Lines, points, bars, histograms and rules on a picture's axes."""

from typing import Any, Literal

import numpy as np
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bench.charts.chart import Bars, Histogram, Line, Numbers, Panel, Points, Rule
from bench.charts.extent import label_places
from bench.charts.palette import COLORS, style
from bench.charts.tiling import NAMED_POINTS, is_log, many_lines
from bench.charts.words import shortened

_DASHES: tuple[tuple[int, tuple[float, ...]], ...] = ((0, (1, 1.5)), (0, (4, 2)), (0, (6, 2, 1, 2)))


def draw_line(axes: Axes, panel: Panel, mark: Line, number: int) -> Artist:
    """A line with its band."""
    shape, x, y = style(number), np.array(mark.x, float), _above(mark.y, is_log(panel, "y"))
    x = np.where(x > 0, x, np.nan) if is_log(panel, "x") else x
    color = COLORS[shape.color]
    if mark.low and mark.high:
        low, high = (_above(ends, is_log(panel, "y")) for ends in (mark.low, mark.high))
        there = np.isfinite(x) & np.isfinite(low) & np.isfinite(high)
        step: Literal["post"] | None = "post" if mark.step else None
        axes.fill_between(x, low, high, where=there, color=color, alpha=0.18, linewidth=0, step=step)
    # A value between two gaps would be no line at all.
    seen = np.isfinite(x) & np.isfinite(y)
    alone = seen & ~np.append(False, seen[:-1]) & ~np.append(seen[1:], False)
    return axes.plot(
        x,
        y,
        color=color,
        linestyle=shape.line,
        linewidth=1.1 if many_lines(panel) else 1.6,
        marker=shape.marker if mark.markers or alone.any() else "",
        markersize=4.5,
        markevery=None if mark.markers else list(np.flatnonzero(alone)),
        drawstyle="steps-post" if mark.step else "default",
    )[0]


def draw_points(axes: Axes, panel: Panel, mark: Points, number: int, over_map: bool) -> Artist:
    """Points with their intervals, and with their labels where these are few."""
    shape = style(number)
    drawn = axes.plot(
        mark.x,
        mark.y,
        color=COLORS[shape.color],
        linestyle="",
        marker=shape.marker,
        markersize=7 if over_map else 3 if len(mark.x) > 200 else 5,
        markeredgecolor="white",
        markeredgewidth=1 if over_map else 0.2 if len(mark.x) > 200 else 0.5,
    )[0]
    intervals: dict[str, Any] = {"colors": COLORS[shape.color], "linewidth": 1, "alpha": 0.55}
    for x, low, high in zip(mark.x, mark.low, mark.high, strict=False):
        if low is not None and high is not None:
            axes.vlines(x, low, high, **intervals)
    for y, low, high in zip(mark.y, mark.x_low, mark.x_high, strict=False):
        if low is not None and high is not None:
            axes.hlines(y, low, high, **intervals)
    if len(mark.x) <= NAMED_POINTS:
        sides = label_places(panel, mark)
        for x, y, label, (across, up) in zip(mark.x, mark.y, mark.labels, sides, strict=False):
            axes.annotate(
                shortened(label, 24),
                (x, y),
                xytext=(5 * across, (4 if across else 6) * up),
                textcoords="offset points",
                ha={1: "left", 0: "center", -1: "right"}[across],
                va="bottom" if up > 0 else "top",
                fontsize=8,
                path_effects=[patheffects.withStroke(linewidth=2, foreground="white")],
            )
    return drawn


def draw_bars(
    axes: Axes,
    mark: Bars,
    number: int,
    categories: list[str],
    place: int,
    abreast: int,
    below: dict[str, float],
) -> Artist:
    """Bars at `place` of the `abreast` that stand side by side, with their intervals.

    Args:
        below: [categories], where they begin.
    """
    shape, room = style(number), 0.8 / abreast
    kept = [at for at, value in enumerate(mark.values) if value is not None]
    x = [categories.index(mark.categories[at]) - 0.4 + room * (place + 0.5) for at in kept]
    values = [float(mark.values[at] or 0) for at in kept]
    axes.bar(
        x,
        values,
        0.94 * room,
        [below.get(mark.categories[at], 0.0) for at in kept],
        color=COLORS[shape.color],
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
    return Patch(facecolor=COLORS[shape.color], edgecolor="white", hatch=shape.hatch)


def draw_histogram(axes: Axes, mark: Histogram, number: int) -> Artist:
    """Stairs over the bins."""
    shape = style(number)
    color = COLORS[shape.color]
    axes.stairs(mark.values, mark.edges, fill=True, color=color, alpha=0.25)
    axes.stairs(mark.values, mark.edges, color=color, linestyle=shape.line, linewidth=1.4)
    drawn = Patch(facecolor=(*to_rgb(color), 0.25), edgecolor=color)
    drawn.set_linestyle(shape.line)  # type: ignore[arg-type]  # matplotlib's hint leaves dashes out
    return drawn


def draw_rule(axes: Axes, mark: Rule, number: int) -> Artist:
    """A line across the axes."""
    drawn: Line2D = Line2D([], [], color="#555555", linewidth=1.1, linestyle=_DASHES[number % len(_DASHES)])
    for place, line in ((mark.x, axes.axvline), (mark.y, axes.axhline)):
        if place is not None:
            line(place, color=drawn.get_color(), linewidth=1.1, linestyle=_DASHES[number % len(_DASHES)])
    return drawn


def _above(values: Numbers, log: bool) -> np.ndarray:
    numbers = np.array([np.nan if value is None else value for value in values], float)
    return np.where(numbers > 0, numbers, np.nan) if log else numbers
