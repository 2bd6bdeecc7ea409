"""The styles of marks: colors for every color vision, each with a dash pattern, a marker and a hatch."""

from dataclasses import dataclass

from bench.charts.chart import Bars, Chart, Heatmap, Histogram, Line, Points, Tiles

#: The colors of Okabe and Ito without yellow, which is hardly visible on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: Similar colors with enough contrast on a dark background.
DARK_COLORS = ("#62B0F0", "#F0A04B", "#3EC79A", "#E59CCB", "#E3D04C", "#AEB2F5", "#F0EEE8")
#: Colors of areas, where all eight can be distinguished; lighter and darker versions follow.
_AREAS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#4D4D4D")

#: Visible on white and on black, and unlike every color of areas.
_NEUTRAL = "#C9C9C9"

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"
#: Stops of the latter, which plotly knows by another name and in other colors.
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
    """The style of a mark, in the words of matplotlib, of plotly and of SVG.

    Attributes:
        color: place in `COLORS`.
        line, dash: the pattern of a line.
        marker, symbol, outline: the shape of a point; the outline starts at its middle.
        hatch, pattern: the texture of an area.
    """

    color: int
    line: str | tuple[int, tuple[float, ...]]
    dash: str
    marker: str
    symbol: str
    outline: str
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
    ("o", "circle", "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z"),
    ("s", "square", "m-3.2 -3.2h6.4v6.4h-6.4z"),
    ("^", "triangle-up", "m0 -4.4l4.3 7.5h-8.6z"),
    ("D", "diamond", "m0 -4.6l4.6 4.6l-4.6 4.6l-4.6 -4.6z"),
    ("v", "triangle-down", "m0 4.4l4.3 -7.5h-8.6z"),
    ("P", "cross", "m-1.3 -4h2.6v2.7h2.7v2.6h-2.7v2.7h-2.6v-2.7h-2.7v-2.6h2.7z"),
    (
        "X",
        "x",
        "m-4 -2l2 -2l2 2l2 -2l2 2l-2 2l2 2l-2 2l-2 -2l-2 2l-2 -2l2 -2z",
    ),
    ("*", "star", "m0 -4.8l1.2 3.2l3.4 0.1l-2.7 2.1l1 3.3l-2.9 -1.9l-2.9 1.9l1 -3.3l-2.7 -2.1l3.4 -0.1z"),
    ("p", "pentagon", "m0 -4.2l4 2.9l-1.5 4.7h-5l-1.5 -4.7z"),
    ("h", "hexagon", "m0 -4.2l3.6 2.1v4.2l-3.6 2.1l-3.6 -2.1v-4.2z"),
)
_HATCHES = (("", ""), ("///", "/"), ("...", "."), ("xxx", "x"), ("---", "-"), ("\\\\\\", "\\"), ("+++", "+"))


def style(number: int) -> Style:
    """The style of the mark with this number, from 0; they repeat after 42 lines, 70 points or 49 bars."""
    line, dash = _LINES[number % len(_LINES)]
    marker, symbol, outline = _MARKERS[number % len(_MARKERS)]
    # A full round of colors later, the hatches start at another place.
    hatch, pattern = _HATCHES[(number + number // len(COLORS)) % len(_HATCHES)]
    return Style(number % len(COLORS), line, dash, marker, symbol, outline, hatch, pattern)


def style_numbers(chart: Chart) -> dict[str, int]:
    """Name of a mark → number of its style; marks of one name have one style in every panel."""
    kinds = Line | Points | Bars | Histogram
    names = (mark.name for panel in chart.panels for mark in panel.marks if isinstance(mark, kinds))
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def color_ends(mark: Heatmap | Tiles, low: float, high: float) -> tuple[float, float]:
    """What the first and the last color stand for; a diverging scale has zero in the middle.

    Args:
        low, high: ends of the mark's values, used where the mark sets no ends.
    """
    if mark.low is not None and mark.high is not None:
        low, high = mark.low, mark.high
    if mark.scale == "diverging":
        end = max(abs(low), abs(high)) or 1.0
        return -end, end
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def category_colors() -> list[str]:
    """The colors of a categorical map; a larger integer starts again from the first."""
    shades = [*_AREAS]
    shades += [_mixed(color, 255, 0.5) for color in _AREAS]
    shades += [_mixed(color, 0, 0.45) for color in _AREAS]
    return shades


def map_colors(mark: Heatmap) -> list[str]:
    """The same for one map, with gray for what is neutral in it."""
    colors = category_colors()
    if mark.neutral is not None:
        colors[mark.neutral % len(colors)] = _NEUTRAL
    return colors


def named_categories(mark: Heatmap) -> dict[str, str]:
    """Name → color of the categories that occur; none where there are more names than colors."""
    colors = map_colors(mark)
    if len(mark.names) > len(colors):
        return {}
    present = {round(z) for row in mark.z for z in row if z is not None}
    return {name: colors[at] for at, name in enumerate(mark.names) if at in present}


def _mixed(color: str, other: int, share: float) -> str:
    channels = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return "#" + "".join(f"{round((1 - share) * channel + share * other):02X}" for channel in channels)
