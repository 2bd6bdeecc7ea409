"""Line and scatter charts as plain geometry; `templates/_chart.html.j2` turns it into SVG.

Nothing here depends on time, chance or fonts, so the same numbers give the same drawing. Colors are
classes (`s0` …) that the style sheet gives a value for either theme; shape and dash differ as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from leaderboards.axes import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Frame,
    Label,
    Path,
    is_number,
    marker_shape,
    position,
    style_class,
)
from leaderboards.text import number

MANY = 300  # points beyond which a scatter chart has neither tooltips nor a table
CHARACTER = 6.6  # width of a label's letter; only keeps labels apart

Interval = tuple[float, float]


@dataclass(frozen=True)
class Series:
    """A line of a chart.

    Attributes:
        name: what it shows; lines of one name share a style and a place in the legend.
        points: (x, y) in the order of x; those that are no finite number are left out.
        intervals: the 95 % interval of each point, where known.
        detail: what tells it from others of its name ("seed 1").
    """

    name: str
    points: Sequence[tuple[float, float]]
    intervals: Sequence[Interval | None] = ()
    detail: str = ""


@dataclass(frozen=True)
class Dot:
    """One point of a scatter chart."""

    name: str
    group: str
    x: float
    y: float
    x_interval: Interval | None = None
    y_interval: Interval | None = None


@dataclass(frozen=True)
class Chart:
    """A drawing and the table of what it shows."""

    title: str
    description: str
    x_label: str
    y_label: str
    grid: tuple[Path, ...]
    paths: tuple[Path, ...]
    labels: tuple[Label, ...]
    ticks: tuple[Label, ...]
    legend: tuple[tuple[str, str, str], ...]
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    scatter: bool = False
    width: int = field(default=WIDTH, init=False)
    height: int = field(default=HEIGHT, init=False)


def line_chart(
    title: str,
    description: str,
    series: Sequence[Series],
    x_label: str,
    y_label: str,
    *,
    mark: tuple[float, str] | None = None,
) -> Chart:
    """Lines over a common x axis, with intervals as bars.

    Args:
        title: heading of the figure.
        description: one sentence for readers who cannot see it.
        series: at least one of them with a point.
        x_label, y_label: what the axes show, with the unit.
        mark: an x to mark with an upright line, and its label.

    Raises:
        ValueError: when no series has a point.
    """
    drawn = [_usable(one) for one in series]
    xs = [x for one in drawn for x, _ in one.points] + ([mark[0]] if mark else [])
    ys = [y for one in drawn for _, y in one.points]
    ys += [end for one in drawn for interval in one.intervals if interval for end in interval]
    if not ys:
        raise ValueError(f"chart {title!r} has nothing to draw")
    frame = Frame(xs, ys)
    paths: list[Path] = []
    names = list(dict.fromkeys(one.name for one in drawn))
    for one in drawn:
        style = names.index(one.name)
        paths += [
            Path(frame.line([(x, interval[0]), (x, interval[1])]), style_class(style), "bar")
            for (x, _), interval in zip(one.points, one.intervals, strict=True)
            if interval
        ]
        if len(one.points) > 1:
            paths.append(Path(frame.line(one.points), style_class(style), "line"))
        if len(one.points) <= 30:
            paths += [frame.marker(x, y, style) for x, y in one.points]
    grid, labels = list(frame.grid), []
    if mark:
        grid.append(Path(frame.line([(mark[0], frame.y.low), (mark[0], frame.y.high)]), "", "mark"))
        anchor = "end" if frame.x.at(mark[0]) > (LEFT + RIGHT) / 2 else "start"
        shift = -5 if anchor == "end" else 5
        labels.append(Label(position(frame.x.at(mark[0]) + shift), position(TOP + 10), mark[1], anchor))
    return Chart(
        title=title,
        description=description,
        x_label=x_label,
        y_label=y_label,
        grid=tuple(grid),
        paths=tuple(paths),
        labels=tuple(labels),
        ticks=frame.ticks,
        legend=_legend(names),
        header=(x_label, *(", ".join(filter(None, (one.name, one.detail))) for one in drawn)),
        rows=_line_rows(drawn),
    )


def scatter_chart(
    title: str,
    description: str,
    dots: Sequence[Dot],
    x_label: str,
    y_label: str,
    *,
    front: bool = False,
    trend: bool = False,
) -> Chart:
    """Points in the plane, colored by group.

    Args:
        title, description, x_label, y_label: as for `line_chart`.
        dots: at least one; beyond 300 they have neither tooltips nor a table.
        front: draw the Pareto front (more is better on both axes) and name the points on it.
        trend: draw the least-squares line, where three or more points have different x.

    Raises:
        ValueError: when there are no dots.
    """
    if not dots:
        raise ValueError(f"chart {title!r} has nothing to draw")
    frame = Frame(
        [end for dot in dots for end in (dot.x, *(dot.x_interval or ()))],
        [end for dot in dots for end in (dot.y, *(dot.y_interval or ()))],
    )
    groups = sorted({dot.group for dot in dots})
    best = pareto_front([(dot.x, dot.y) for dot in dots]) if front else []
    paths, note = [], ""
    if len(best) > 1:
        paths.append(Path(frame.line([(dots[at].x, dots[at].y) for at in best]), "", "front"))
    fit = least_squares([(dot.x, dot.y) for dot in dots]) if trend else None
    if fit is not None:
        slope, intercept = fit
        ends = [min(dot.x for dot in dots), max(dot.x for dot in dots)]
        line = [(x, min(max(slope * x + intercept, frame.y.low), frame.y.high)) for x in ends]
        paths.append(Path(frame.line(line), "", "trend"))
        note = f"Least-squares line over {len(dots)} points: slope {number(slope)}."
    for at, group in enumerate(groups):
        bars = [frame.line(ends) for dot in dots if dot.group == group for ends in _bars(dot)]
        if bars:
            paths.append(Path("".join(bars), style_class(at), "bar"))
    marks = [frame.marker(dot.x, dot.y, groups.index(dot.group), f"{dot.name}, {dot.group}") for dot in dots]
    paths += marks if len(dots) <= MANY else _merged(marks)
    header = ("Entry", "Network", x_label, y_label, *(["On the front"] if front else []))
    rows: list[tuple[str, ...]] = [(dot.name, dot.group, number(dot.x), number(dot.y)) for dot in dots]
    if front:
        rows = [(*row, "yes" if at in best else "no") for at, row in enumerate(rows)]
    return Chart(
        title=title,
        description=description,
        x_label=x_label,
        y_label=y_label,
        grid=frame.grid,
        paths=tuple(paths),
        labels=_names(frame, dots, best or range(min(len(dots), MANY))),
        ticks=frame.ticks,
        legend=_legend(groups),
        header=header,
        rows=tuple(rows) if len(dots) <= MANY else (),
        note=note,
        scatter=True,
    )


def _bars(dot: Dot) -> list[list[tuple[float, float]]]:
    across = [[(end, dot.y) for end in dot.x_interval]] if dot.x_interval else []
    return across + ([[(dot.x, end) for end in dot.y_interval]] if dot.y_interval else [])


def _merged(marks: Sequence[Path]) -> list[Path]:
    """One path a style instead of one a point, which a browser draws far sooner."""
    styles = sorted({mark.style for mark in marks})
    return [Path("".join(m.d for m in marks if m.style == style), style, "dot") for style in styles]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other beats on one axis without losing on the other, by rising x."""
    front: list[int] = []
    for at in sorted(range(len(points)), key=lambda at: (-points[at][0], -points[at][1], at)):
        if not front or points[at][1] > points[front[-1]][1]:
            front.append(at)
    return front[::-1]


def least_squares(points: Sequence[tuple[float, float]]) -> tuple[float, float] | None:
    """Slope and intercept of y on x; None for fewer than three points or a single x."""
    x, y = np.array(points, float).reshape(-1, 2).T
    spread = float(((x - x.mean()) ** 2).sum()) if len(x) >= 3 else 0.0
    # Zero for equal places, and for those whose squared distances are too small for a number.
    if spread == 0:
        return None
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread
    return slope, float(y.mean() - slope * x.mean())


def _names(frame: Frame, dots: Sequence[Dot], wanted: Sequence[int]) -> tuple[Label, ...]:
    """Names beside the wanted dots, wherever one fits without touching a dot or another name."""
    taken = [(frame.x.at(dot.x) - 5, frame.y.at(dot.y) - 5, 10.0, 10.0) for dot in dots]
    labels = []
    for at in wanted:
        text = dots[at].name if len(dots[at].name) <= 24 else dots[at].name[:23] + "…"
        x, y, width = frame.x.at(dots[at].x), frame.y.at(dots[at].y), len(text) * CHARACTER
        places = [
            (x + 8, y - 6, "start", x + 8),
            (x - 8 - width, y - 6, "end", x - 8),
            (x - width / 2, y - 20, "middle", x),
            (x - width / 2, y + 8, "middle", x),
        ]
        for left, top, anchor, where in places:
            box = (left, top, width, 12.0)
            inside = left >= LEFT and left + width <= WIDTH and top >= 0 and top + 12 <= BOTTOM
            if inside and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                labels.append(Label(position(where), position(top + 10), text, anchor))
                break
    return tuple(labels)


def _overlap(first: tuple[float, float, float, float], second: tuple[float, float, float, float]) -> bool:
    return (
        first[0] < second[0] + second[2]
        and second[0] < first[0] + first[2]
        and first[1] < second[1] + second[3]
        and second[1] < first[1] + first[3]
    )


def _usable(series: Series) -> Series:
    intervals = list(series.intervals) or [None] * len(series.points)
    kept = [
        (point, interval if interval and all(map(is_number, interval)) else None)
        for point, interval in zip(series.points, intervals, strict=True)
        if all(map(is_number, point))
    ]
    return replace(series, points=[point for point, _ in kept], intervals=[interval for _, interval in kept])


def _line_rows(series: Sequence[Series]) -> tuple[tuple[str, ...], ...]:
    columns = [
        {x: _cell(y, interval) for (x, y), interval in zip(one.points, one.intervals, strict=True)}
        for one in series
    ]
    xs = sorted({x for column in columns for x in column})
    return tuple((number(x), *(column.get(x, "—") for column in columns)) for x in xs)


def _cell(value: float, interval: Interval | None) -> str:
    return number(value) + (f" ({number(interval[0])} to {number(interval[1])})" if interval else "")


def _legend(names: Sequence[str]) -> tuple[tuple[str, str, str], ...]:
    return tuple((name, style_class(at), marker_shape(10, 6, at)) for at, name in enumerate(names))
