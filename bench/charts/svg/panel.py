"""One panel as SVG paths and texts.

Nothing here depends on time, chance or fonts, so the same chart gives the same drawing. Colors are classes (`s0` …)
that the page's style sheet defines; the shape of points and the dashes of lines differ as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from bench.charts.chart import Line, Mark, Numbers, Panel, Points, Rule
from bench.charts.numbers import number
from bench.charts.outlines import Point, bands, corners, pieces
from bench.charts.palette import COLORS, Style, style
from bench.charts.svg.names import Text, place_beside, place_names, width_of
from bench.charts.svg.scale import Scale

WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 46, 406, 30, 234
#: More points than these are drawn as one path for each mark, without tooltips and without a table.
MANY = 300
#: The order in which kinds of paths are drawn; later ones cover earlier ones.
_ORDER = ("band", "rule", "bar", "line", "dot")


@dataclass(frozen=True)
class Path:
    """A stroke, an area or points: what kind, its SVG path, the class of its color, its dashes, its tooltip.

    Attributes:
        of: the classes that a key of the legend picks it by.
        link: where it leads.
    """

    kind: str
    d: str
    color: str = ""
    dashes: str = ""
    tooltip: str = ""
    of: str = ""
    link: str = ""


@dataclass
class Drawing:
    """What the template writes of a panel."""

    panel: Panel
    grid: list[Path] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    ticks: list[Text] = field(default_factory=list)
    labels: list[Text] = field(default_factory=list)


@dataclass(frozen=True)
class Key:
    """A name in the legend, the paths that show its style, and the class of the points that it picks."""

    name: str
    paths: list[Path]
    picks: str = ""


def draw_panel(panel: Panel, numbers: dict[str, int]) -> Drawing:
    """Draw the lines, points and rules of a panel.

    Args:
        numbers: name of a mark → the number of its style.

    Raises:
        ValueError: for other marks, which PNG and interactive pages show.
    """
    plane = _Plane(panel)
    drawing = Drawing(panel)
    grouped = bool(group_numbers(panel.marks))
    for place, text in plane.y.ticks:
        drawing.grid.append(Path("grid", f"M{LEFT} {_place(place)}L{RIGHT} {_place(place)}"))
        drawing.ticks.append(Text(LEFT - 7, place + 4, text, "end"))
    drawing.ticks += [Text(place, BOTTOM + 18, text) for place, text in plane.x.ticks]
    for mark in panel.marks:
        match mark:
            case Line():
                lines = plane.line(mark, style(numbers[mark.name]))
                # Where colors stand for groups of points, no line has the color of one.
                drawing.paths += (replace(path, color="plain") for path in lines) if grouped else lines
            case Points():
                drawing.paths += plane.points(mark, style(numbers[mark.name]), numbers[mark.name])
            case Rule():
                drawing.paths += plane.rules(mark)
                drawing.labels += plane.rule_names(mark, panel.marks)
            case _:
                raise ValueError(f"SVG shows lines, points and rules, not {mark.kind}")
    drawing.paths.sort(key=lambda path: _ORDER.index(path.kind))
    drawing.labels += plane.names(panel.marks, drawing.labels)
    return drawing


def has_many_points(panel: Panel) -> bool:
    """Whether a panel has too many points for tooltips and a table."""
    return sum(len(mark.x) for mark in panel.marks if isinstance(mark, Points)) > MANY


def legend(marks: Sequence[Mark], numbers: dict[str, int]) -> list[Key]:
    """A key for every name of lines and points; rules are named beside their lines."""
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
        self.x, self.y = Scale(panel, "x", LEFT, RIGHT), Scale(panel, "y", BOTTOM, TOP)
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
            self._dot(x, y, shape, _tooltip(label, mark.name, x, y))
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
            color, of = f"s{group % len(COLORS)}", f"m{number} g{group}"
            low, high, left, right = (end[at] for end in ends)
            if low is not None and high is not None:
                yield Path("bar", self._path([(x, low), (x, high)]), color, of=of)
            if left is not None and right is not None:
                yield Path("bar", self._path([(left, y), (right, y)]), color, of=of)
            dot = self._dot(x, y, shape, _tooltip(labels[at], f"{mark.name}, {mark.groups[at]}", x, y))
            yield replace(dot, color=color, of=of, link=links[at])

    def rules(self, mark: Rule) -> Iterator[Path]:
        """Lines across the panel."""
        if mark.x is not None:
            across = _place(self.x.at(mark.x))
            yield Path("rule", f"M{across} {BOTTOM}L{across} {TOP}")
        if mark.y is not None:
            up = _place(self.y.at(mark.y))
            yield Path("rule", f"M{LEFT} {up}L{RIGHT} {up}")

    def rule_names(self, mark: Rule, marks: Sequence[Mark]) -> Iterator[Text]:
        """The name of a rule, beside its line where it covers no point."""
        if mark.x is not None:
            across = self.x.at(mark.x)
            sides = [(across + 5, "start"), (across - 5, "end")]
            sides = sides[::-1] if across > (LEFT + RIGHT) / 2 else sides
            places = [Text(x, y, mark.name, end) for y in (TOP + 10, BOTTOM - 6) for x, end in sides]
        elif mark.y is not None:
            up, step = self.y.at(mark.y), (RIGHT - LEFT) / 8
            ends = [RIGHT - step * at for at in range(7) if RIGHT - step * at > LEFT + width_of(mark.name)]
            places = [Text(x, up + y, mark.name, "end") for x in ends or [RIGHT] for y in (-4, 14)]
        else:
            return
        yield place_beside(places, self._dots(marks))

    def names(self, marks: Sequence[Mark], others: Sequence[Text]) -> list[Text]:
        """The names of points, those that a line goes through first."""
        ways = {point for mark in marks if isinstance(mark, Line) for point in corners(mark)}
        points = [mark for mark in marks if isinstance(mark, Points)]
        named = [one for mark in points for one in zip(mark.x, mark.y, mark.labels, strict=False)]
        named.sort(key=lambda one: one[:2] not in ways)
        return place_names(
            [(self.x.at(x), self.y.at(y), name) for x, y, name in named[:MANY]],
            self._dots(points),
            others,
            (LEFT, 0, WIDTH, BOTTOM),
        )

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


def _drawable(values: Sequence[float | None], scale: Scale) -> Numbers:
    return [None if value is None or (scale.log and value <= 0) else value for value in values]


def _tooltip(name: str, detail: str, x: float, y: float) -> str:
    what = ", ".join(filter(None, (name, detail)))
    return (f"{what}: " if what else "") + f"{number(x)}, {number(y)}"


def _color(shape: Style) -> str:
    return f"s{shape.color}"


def _dashes(shape: Style) -> str:
    return "" if isinstance(shape.line, str) else " ".join(f"{2 * length:g}" for length in shape.line[1])


def _place(value: float) -> str:
    """A place with one decimal, so that drawings do not depend on the last bit."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
