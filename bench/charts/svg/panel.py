"""One panel as SVG paths and texts.

Nothing here depends on time, chance or fonts, so the same chart gives the same drawing. Colors are classes (`s0` …)
that the page's style sheet defines; the shape of points and the dashes of lines differ as well.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.charts.chart import Bars, Heatmap, Histogram, Line, Mark, Numbers, Panel, Points, Rule, Tiles
from bench.charts.numbers import number
from bench.charts.outlines import Point, bands, corners, pieces
from bench.charts.palette import COLORS, Style, style
from bench.charts.svg.areas import bars, histogram
from bench.charts.svg.drawing import BOTTOM, HEIGHT, Drawing, Key, Path, Text
from bench.charts.svg.drawing import place as _place
from bench.charts.svg.fields import draw_heatmap, draw_tiles
from bench.charts.svg.frame import NAME_LINE, categories_of, frame, name_lines
from bench.charts.svg.names import Box, place_beside, place_names, width_of
from bench.charts.svg.scale import Scale
from bench.charts.words import shortened

#: More points than these are drawn as one path for each mark, without tooltips and without a table.
MANY = 300
#: Names below bars, letters of one, and the width of an average letter.
_MOST_NAMES, _LONGEST_NAME, _LETTER = 20, 24, 7.2
#: The order in which kinds of paths are drawn; later ones cover earlier ones.
_ORDER = (
    "border",
    "under",
    "contour",
    "band",
    "area",
    "block",
    "whisker",
    "rule",
    "bar",
    "line",
    "dot",
)


def draw_panel(panel: Panel, numbers: dict[str, int], abreast: int = 12) -> Drawing:
    """Draw the marks of a panel.

    Args:
        numbers: name of a mark → the number of its style.
        abreast: the most small pictures side by side.
    """
    plane = _Plane(panel)
    height = plane.frame.bottom + HEIGHT - BOTTOM
    drawing = Drawing(panel, plane.frame.width, height, height)
    grouped = bool(group_numbers(panel.marks))
    filled = [mark for mark in panel.marks if isinstance(mark, Heatmap | Tiles)]
    if not any(isinstance(mark, Tiles) for mark in filled):
        _draw_ticks(drawing, plane, grid=not filled)
    columns = [mark for mark in panel.marks if isinstance(mark, Bars)]
    categories = categories_of(panel)
    below: dict[str, float] = {}
    for mark in panel.marks:
        shape = style(0 if isinstance(mark, Tiles) else numbers.get(mark.name, 0))
        match mark:
            case Line():
                lines = plane.line(mark, shape)
                # Where colors stand for groups of points, no line has the color of one.
                drawing.paths += (replace(path, color="plain") for path in lines) if grouped else lines
            case Points():
                drawing.paths += plane.points(mark, shape, numbers[mark.name])
            case Rule():
                drawing.paths += plane.rules(mark)
                drawing.labels += plane.rule_names(mark, panel.marks)
            case Bars():
                # Stacked bars share one place.
                beside = (0, 1) if mark.stacked else (columns.index(mark), len(columns))
                drawing.paths += bars(plane.frame, mark, _color(shape), categories, beside, below)
            case Histogram():
                drawing.paths += histogram(plane.frame, mark, _color(shape), _dashes(shape))
            case Heatmap():
                draw_heatmap(drawing, plane.frame, mark)
            case Tiles():
                draw_tiles(drawing, mark, abreast)
    drawing.paths.sort(key=lambda path: _ORDER.index(path.kind))
    drawing.labels += plane.names(panel.marks, drawing, numbers)
    return drawing


def _draw_ticks(drawing: Drawing, plane: "_Plane", *, grid: bool) -> None:
    """Ticks of both axes, with lines across a panel that no map fills; long names below bars are turned."""
    left, right, bottom = plane.frame.left, plane.frame.right, plane.frame.bottom
    for place, text in plane.y.ticks:
        if grid:
            drawing.grid.append(Path("grid", f"M{_place(left)} {_place(place)}H{_place(right)}"))
        lines = name_lines(text) if drawing.panel.y.tick_labels else [text]
        first = place + 4 - NAME_LINE / 2 * (len(lines) - 1)
        drawing.ticks += [
            Text(left - 7, first + NAME_LINE * at, line, "end") for at, line in enumerate(lines)
        ]
    ticks = plane.x.ticks
    names = categories_of(drawing.panel)
    if names:
        every = math.ceil(len(ticks) / _MOST_NAMES)
        ticks = [(place, shortened(text, _LONGEST_NAME)) for place, text in ticks[::every]]
        if max(width_of(text) for _, text in ticks) > (right - left) / len(ticks):
            # Turned, a letter goes 0.57 of its width to the left and 0.82 of it down.
            ticks = [(place, shortened(text, int(place / (0.57 * _LETTER)))) for place, text in ticks]
            drawing.ticks += [Text(place + 4, bottom + 14, text, "end", turned=True) for place, text in ticks]
            drawing.bottom += max(0.0, 0.82 * _LETTER * max(len(text) for _, text in ticks) - 14)
            drawing.height = drawing.bottom
            return
    drawing.ticks += [Text(place, bottom + 18, text) for place, text in ticks]


def has_many_points(panel: Panel) -> bool:
    """Whether a panel has too many points for tooltips and a table."""
    return sum(len(mark.x) for mark in panel.marks if isinstance(mark, Points)) > MANY


def legend(marks: Sequence[Mark], numbers: dict[str, int]) -> list[Key]:
    """A key for every name; rules are named beside their lines, and what colors of a map mean below it."""
    keys: dict[str, Key] = {}
    grouped = bool(group_numbers(marks))
    for mark in marks:
        if isinstance(mark, Line | Points) and mark.name:
            shape = style(numbers[mark.name])
            if isinstance(mark, Points) and mark.groups:
                outline = Path("dot", f"M10 6{shape.outline}", "plain")
                keys.setdefault(mark.name, Key(mark.name, [outline], f"m{numbers[mark.name]}"))
                continue
            paths = (
                [Path("line", "M0 6L20 6", _color(shape), _dashes(shape))] if isinstance(mark, Line) else []
            )
            if grouped:
                paths = [replace(path, color="plain") for path in paths]
            if isinstance(mark, Points) or mark.markers:
                paths.append(Path("dot", f"M10 6{shape.outline}", _color(shape)))
            keys.setdefault(mark.name, Key(mark.name, paths))
        elif isinstance(mark, Bars | Histogram) and mark.name:
            kind = "block" if isinstance(mark, Bars) else "area"
            area = Path(kind, "M0 0H20V12H0z", _color(style(numbers[mark.name])))
            keys.setdefault(mark.name, Key(mark.name, [area]))
    groups = [
        Key(name, [Path("dot", f"M10 6{style(0).outline}", _color(style(number)))], f"g{number}")
        for name, number in group_numbers(marks).items()
    ]
    return groups + list(keys.values())


def group_numbers(marks: Sequence[Mark]) -> dict[str, int]:
    """Group of points → number of its color."""
    groups = sorted({group for mark in marks if isinstance(mark, Points) for group in mark.groups})
    return {group: number for number, group in enumerate(groups)}


class _Plane:
    """The axes of a panel, and the marks between them."""

    def __init__(self, panel: Panel) -> None:
        self.frame = frame(panel)
        self.x, self.y = self.frame.x, self.frame.y
        self._y_axis = panel.y
        self._categories = categories_of(panel)
        self._merged = has_many_points(panel)
        self._groups = group_numbers(panel.marks)

    def line(self, mark: Line, shape: Style) -> Iterator[Path]:
        """A line with its band; a point between two gaps is marked."""
        xs, ys = (_drawable(values, scale) for values, scale in ((mark.x, self.x), (mark.y, self.y)))
        if mark.low and mark.high:
            low, high = (_drawable(ends, self.y) for ends in (mark.low, mark.high))
            for outline in bands(xs, low, high, mark.step):
                yield Path("band", self._path(outline) + "z", _color(shape))
        for piece in pieces(xs, ys, mark.step):
            if len(piece) > 1:
                yield Path("line", self._path(piece), _color(shape), _dashes(shape))
            elif not mark.markers:
                yield self._dot(*piece[0], shape, _tooltip(mark.name, mark.detail, *piece[0]))
        if mark.markers:
            for x, y in zip(xs, ys, strict=True):
                if x is not None and y is not None:
                    yield self._dot(x, y, shape, _tooltip(mark.name, mark.detail, x, y))

    def points(self, mark: Points, shape: Style, number: int) -> Iterator[Path]:
        """Points with their intervals."""
        mark = _shown(mark, self.x.log, self.y.log)
        if mark.groups and not self._merged:
            yield from self._grouped(mark, shape, number)
            return
        up = zip(mark.x, mark.low, mark.high, strict=False)
        across = zip(mark.y, mark.x_low, mark.x_high, strict=False)
        bars = [[(x, low), (x, high)] for x, low, high in up if low is not None and high is not None]
        bars += [[(low, y), (high, y)] for y, low, high in across if low is not None and high is not None]
        d = "".join(map(self._path, bars))
        if d:
            yield Path("bar", d, _color(shape))
        labels = mark.labels or [""] * len(mark.x)
        dots = [
            self._dot(x, y, shape, _tooltip(label or self._y_axis.name_of(y), mark.name, x, y))
            for x, y, label in zip(mark.x, mark.y, labels, strict=True)
        ]
        # One path for many points, which a browser draws far sooner.
        merged = Path("dot", "".join(dot.d for dot in dots), _color(shape))
        yield from [merged] if self._merged else dots

    def _grouped(self, mark: Points, shape: Style, number: int) -> Iterator[Path]:
        """Points of one shape whose colors are those of their groups, each with its own bars."""
        none: list[float | None] = [None] * len(mark.x)
        ends = (mark.low or none, mark.high or none, mark.x_low or none, mark.x_high or none)
        labels, links = mark.labels or [""] * len(mark.x), mark.links or [""] * len(mark.x)
        for at, (x, y) in enumerate(zip(mark.x, mark.y, strict=True)):
            group = self._groups[mark.groups[at]]
            color, of = f"s{group % len(COLORS)}", self._of(mark.groups[at], number)
            low, high, left, right = (end[at] for end in ends)
            if low is not None and high is not None:
                yield Path("bar", self._path([(x, low), (x, high)]), color, of=of)
            if left is not None and right is not None:
                yield Path("bar", self._path([(left, y), (right, y)]), color, of=of)
            dot = self._dot(x, y, shape, _tooltip(labels[at], f"{mark.name}, {mark.groups[at]}", x, y))
            yield replace(dot, color=color, of=of, link=links[at])

    def _of(self, group: str, number: int) -> str:
        """The classes that keys of the legend pick a point of a group by; `number` is that of its shape."""
        return f"m{number} g{self._groups[group]}"

    def rules(self, mark: Rule) -> Iterator[Path]:
        """Lines across the panel."""
        if mark.x is not None:
            across = _place(self.x.at(mark.x))
            yield Path("rule", f"M{across} {_place(self.frame.bottom)}L{across} {_place(self.frame.top)}")
        if mark.y is not None:
            up = _place(self.y.at(mark.y))
            yield Path("rule", f"M{_place(self.frame.left)} {up}L{_place(self.frame.right)} {up}")

    def rule_names(self, mark: Rule, marks: Sequence[Mark]) -> Iterator[Text]:
        """The name of a rule, beside its line where it covers no point."""
        left, right, bottom = self.frame.left, self.frame.right, self.frame.bottom
        if mark.x is not None:
            across = self.x.at(mark.x)
            sides = [(across + 5, "start"), (across - 5, "end")]
            sides = sides[::-1] if across > (left + right) / 2 else sides
            places = [
                Text(x, y, mark.name, end) for y in (self.frame.top + 10, bottom - 6) for x, end in sides
            ]
        elif mark.y is not None:
            up, step = self.y.at(mark.y), (right - left) / 8
            ends = [right - step * at for at in range(7) if right - step * at > left + width_of(mark.name)]
            places = [Text(x, up + y, mark.name, "end") for x in ends or [right] for y in (-4, 14)]
        else:
            return
        yield place_beside(places, self._dots(marks), self._columns(marks))

    def names(self, marks: Sequence[Mark], drawing: Drawing, numbers: dict[str, int]) -> list[Text]:
        """The names of points, those that a line goes through first."""
        ways = {point for mark in marks if isinstance(mark, Line) for point in corners(mark)}
        points = [mark for mark in marks if isinstance(mark, Points)]
        points = [_shown(mark, self.x.log, self.y.log) for mark in points]
        named = [
            (x, y, label, self._of(group, numbers[mark.name]) if group else "")
            for mark in points
            for x, y, label, group in zip(
                mark.x, mark.y, mark.labels, mark.groups or [""] * len(mark.x), strict=False
            )
        ]
        named.sort(key=lambda one: one[:2] not in ways)
        return place_names(
            [(self.x.at(x), self.y.at(y), name, of) for x, y, name, of in named[:MANY]],
            self._dots(points),
            drawing.labels,
            (self.frame.left, 0, drawing.width, self.frame.bottom),
        )

    def _columns(self, marks: Sequence[Mark]) -> Iterator[Box]:
        """The places of bars."""
        for mark in marks:
            for name, value in (
                zip(mark.categories, mark.values, strict=True) if isinstance(mark, Bars) else ()
            ):
                top, bottom = sorted((self.y.at(value or 0.0), self.y.at(0)))
                middle = self._categories.index(name)
                yield self.x.at(middle - 0.4), top, self.x.at(middle + 0.4), bottom

    def _dots(self, marks: Sequence[Mark]) -> list[tuple[float, float]]:
        """The places of all points and of the markers of lines."""
        dotted = [
            mark for mark in marks if isinstance(mark, Points) or (isinstance(mark, Line) and mark.markers)
        ]
        return [
            (self.x.at(x), self.y.at(y))
            for mark in dotted
            for x, y in zip(_drawable(mark.x, self.x), _drawable(mark.y, self.y), strict=True)
            if x is not None and y is not None
        ]

    def _dot(self, x: float, y: float, shape: Style, tooltip: str) -> Path:
        d = f"M{_place(self.x.at(x))} {_place(self.y.at(y))}{shape.outline}"
        return Path("dot", d, _color(shape), tooltip=tooltip)

    def _path(self, points: Sequence[Point]) -> str:
        return "M" + "L".join(f"{_place(self.x.at(x))} {_place(self.y.at(y))}" for x, y in points)


def _shown(mark: Points, log_x: bool, log_y: bool) -> Points:
    """The points that the axes can show."""
    kept = [
        at
        for at, (x, y) in enumerate(zip(mark.x, mark.y, strict=True))
        if not ((log_x and x <= 0) or (log_y and y <= 0))
    ]
    if len(kept) == len(mark.x):
        return mark
    lists = ("x", "y", "labels", "low", "high", "x_low", "x_high", "groups", "links")
    return mark.model_copy(
        update={name: [getattr(mark, name)[at] for at in kept] for name in lists if getattr(mark, name)}
    )


def _drawable(values: Sequence[float | None], scale: Scale) -> Numbers:
    return [None if value is None or (scale.log and value <= 0) else value for value in values]


def _tooltip(name: str, detail: str, x: float, y: float) -> str:
    what = ", ".join(filter(None, (name, detail)))
    return (f"{what}: " if what else "") + f"{number(x)}, {number(y)}"


def _color(shape: Style) -> str:
    return f"s{shape.color}"


def _dashes(shape: Style) -> str:
    return "" if isinstance(shape.line, str) else " ".join(f"{2 * length:g}" for length in shape.line[1])
