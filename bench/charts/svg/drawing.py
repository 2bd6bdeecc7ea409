"""What the templates write of a panel: paths, pictures, texts and keys."""

from dataclasses import dataclass, field

from bench.charts.chart import Panel

WIDTH, HEIGHT = 420, 280
LEFT, RIGHT, TOP, BOTTOM = 46, 406, 30, 234
#: Height of a line of keys.
LINE = 20


@dataclass(frozen=True)
class Text:
    """A piece of text at a place; `turned` texts rise to their end there; `of` is as that of a path."""

    x: float
    y: float
    text: str
    anchor: str = "middle"
    turned: bool = False
    of: str = ""


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


@dataclass(frozen=True)
class Picture:
    """Cells of colors: left, top, width, height, and a PNG with a pixel for each cell, in base 64."""

    x: float
    y: float
    width: float
    height: float
    png: str


@dataclass(frozen=True)
class Key:
    """A name in the legend: the paths that show its style, or what color fills it; and the points that it picks."""

    name: str
    paths: list[Path]
    picks: str = ""
    fill: str = ""


@dataclass
class Drawing:
    """What the template writes of a panel.

    Attributes:
        bottom: where the room for its axes ends.
        axes: whether they have labels.
        keys: what the colors of its map mean, each with its place.
    """

    panel: Panel
    width: float = WIDTH
    height: float = HEIGHT
    bottom: float = HEIGHT
    axes: bool = True
    grid: list[Path] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    ticks: list[Text] = field(default_factory=list)
    labels: list[Text] = field(default_factory=list)
    keys: list[tuple[float, float, Key]] = field(default_factory=list)


def place_keys(keys: list[Key], width: float, letters: int) -> tuple[list[tuple[float, float, Key]], int]:
    """Keys from left to right, in as many lines as they need: each with its place; and the height of all.

    Args:
        letters: after which names are cut.
    """
    placed, x, y = [], 12.0, 0
    for key in keys:
        wide = 40 + 8 * min(len(key.name), letters)
        if x > 12 and x + wide > width:
            x, y = 12.0, y + LINE
        placed.append((x, float(y), key))
        x += wide
    return placed, y + LINE if keys else 0


def place(value: float) -> str:
    """A place with one decimal, so that drawings do not depend on the last bit."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
