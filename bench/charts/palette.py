"""What tells marks apart: colours for every colour vision, and a dash, a marker and a hatch beside each."""

from dataclasses import dataclass

from bench.charts.chart import Bars, Chart, Heatmap, Histogram, Line, Points, Tiles

#: Okabe and Ito's colours without yellow, which white paper swallows.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Their neighbours that stand out on a dark ground.
DARK_COLOURS = ("#62B0F0", "#F0A04B", "#3EC79A", "#E59CCB", "#E3D04C", "#AEB2F5", "#F0EEE8")
#: Of areas, where all eight are told apart; then the same lighter and darker.
_AREAS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#4D4D4D")

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
#: Stops of the latter, which plotly knows by another name and in other colours.
DIVERGING_STOPS = (
    "#053061",
    "#2166AC",
    "#4393C3",
    "#92C5DE",
    "#D1E5F0",
    "#F7F7F7",
    "#FDDBC7",
    "#F4A582",
    "#D6604D",
    "#B2182B",
    "#67001F",
)


@dataclass(frozen=True)
class Style:
    """One look, in the words of matplotlib and of plotly.

    Attributes:
        colour: place in `COLOURS`.
        line, dash: the pattern of a line.
        marker, symbol: the shape of a point.
        hatch, pattern: the texture of an area.
    """

    colour: int
    line: str | tuple[int, tuple[float, ...]]
    dash: str
    marker: str
    symbol: str
    hatch: str
    pattern: str


_LINES = (
    ("-", "solid"),
    ((0, (5, 1.5)), "dash"),
    ((0, (5, 1.5, 1, 1.5)), "dashdot"),
    ((0, (1, 1.2)), "dot"),
    ((0, (9, 2)), "longdash"),
    ((0, (9, 2, 1, 2)), "longdashdot"),
)
_MARKERS = (
    ("o", "circle"),
    ("s", "square"),
    ("^", "triangle-up"),
    ("D", "diamond"),
    ("v", "triangle-down"),
    ("P", "cross"),
    ("X", "x"),
    ("*", "star"),
    ("p", "pentagon"),
    ("h", "hexagon"),
)
_HATCHES = (("", ""), ("///", "/"), ("...", "."), ("xxx", "x"), ("---", "-"), ("\\\\\\", "\\"), ("+++", "+"))


def style(number: int) -> Style:
    """The look of the mark with this number, from 0; two looks are equal only after a long way."""
    line, dash = _LINES[number % len(_LINES)]
    marker, symbol = _MARKERS[number % len(_MARKERS)]
    # A full round of colours later, the hatches start at another place.
    hatch, pattern = _HATCHES[(number + number // len(COLOURS)) % len(_HATCHES)]
    return Style(number % len(COLOURS), line, dash, marker, symbol, hatch, pattern)


def style_numbers(chart: Chart) -> dict[str, int]:
    """The name of a mark → the number of its look: marks of one name look alike in every panel."""
    kinds = Line | Points | Bars | Histogram
    names = (mark.name for panel in chart.panels for mark in panel.marks if isinstance(mark, kinds))
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def colour_ends(mark: Heatmap | Tiles, low: float, high: float) -> tuple[float, float]:
    """What the first and the last color stand for; a diverging scale has zero in the middle.

    Args:
        low, high: ends of the mark's values, which stand where it names none.
    """
    if mark.low is not None and mark.high is not None:
        low, high = mark.low, mark.high
    if mark.scale == "diverging":
        end = max(abs(low), abs(high)) or 1.0
        return -end, end
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def category_colours() -> list[str]:
    """The colours of a categorical map; a larger integer starts again from the first."""
    shades = [*_AREAS]
    shades += [_mixed(colour, 255, 0.5) for colour in _AREAS]
    shades += [_mixed(colour, 0, 0.45) for colour in _AREAS]
    return shades


def _mixed(colour: str, other: int, share: float) -> str:
    channels = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round((1 - share) * channel + share * other):02X}" for channel in channels)
