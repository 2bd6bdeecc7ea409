"""Heat maps and small pictures: their colors as PNG, with borders, contours and color bars as paths."""

import base64
import io
import math
import textwrap
from collections.abc import Sequence

import numpy as np
from contourpy import contour_generator
from matplotlib import colormaps
from PIL import Image

from bench.charts.chart import Axis, Heatmap, Panel, Rule, Tiles
from bench.charts.palette import DIVERGING, SEQUENTIAL, color_ends, map_colors, named_categories
from bench.charts.svg.drawing import (
    LINE,
    TOP,
    WIDTH,
    Drawing,
    Key,
    Path,
    Picture,
    Text,
    place,
    place_keys,
)
from bench.charts.svg.frame import Frame
from bench.charts.svg.scale import Scale
from bench.charts.tiling import cell_edges, tile_columns, tile_ratio
from bench.charts.words import shortened

#: Pixels across a map whose cells differ in size.
_ACROSS = 512
#: More borders between categories hide the colors.
_BORDERS = 20_000
#: Side of a small picture.
_TILE = 84.0
#: Letters of a category's name, and the width of an average letter.
_LETTERS, _LETTER = 24, 7.2


def draw_heatmap(drawing: Drawing, frame: Frame, mark: Heatmap) -> None:
    """A map with its color bar, or with borders between its categories and a key for each, and its contour."""
    corner = (
        f"M{place(frame.left)} {place(frame.bottom)}V{place(frame.top)}"
        f"H{place(frame.right)}V{place(frame.bottom)}z"
    )
    drawing.grid.append(Path("missing", corner))
    z = np.array([[np.nan if value is None else value for value in row] for row in mark.z], float)
    z = z.reshape(len(mark.y), len(mark.x))
    if z.size == 0 or not np.isfinite(z).any():
        return
    xs = [frame.x.at(edge) for edge in cell_edges(mark.x, frame.x.log)]
    ys = [frame.y.at(edge) for edge in cell_edges(mark.y, frame.y.log)]
    cells = z[np.ix_(_spread(ys), _spread(xs))]
    left, top = min(xs), min(ys)
    size = (max(xs) - left, max(ys) - top)
    if mark.scale == "categorical":
        drawing.pictures.append(Picture(left, top, *size, _png(_categories(mark, cells))))
        drawing.paths += _borders(z, xs, ys)
        keys = [
            Key(shortened(name, _LETTERS), [], fill=fill) for name, fill in named_categories(mark).items()
        ]
        placed, height = place_keys(keys, drawing.width, _LETTERS)
        drawing.keys += [(x, y + drawing.height, key) for x, y, key in placed]
        drawing.height += height
    else:
        low, high = color_ends(mark, float(np.nanmin(z)), float(np.nanmax(z)))
        name = DIVERGING if mark.scale == "diverging" else SEQUENTIAL
        drawing.pictures.append(Picture(left, top, *size, _png(_colored(cells, name, low, high))))
        # Below its unit, so that no tick touches it.
        upright = (frame.top + (12 if mark.unit else 0), frame.bottom)
        _color_bar(drawing, name, (low, high), frame.right + 12, upright)
        if mark.unit:
            unit = shortened(mark.unit, 40)
            left = min(frame.right + 12, drawing.width - 8 - _LETTER * len(unit))
            drawing.ticks.append(Text(left, 27, unit, "start"))
    if mark.contour is not None and min(z.shape) > 1 and np.nanmin(z) < mark.contour < np.nanmax(z):
        middles = [frame.x.at(x) for x in mark.x], [frame.y.at(y) for y in mark.y]
        lines = contour_generator(*middles, np.ma.masked_invalid(z)).lines(mark.contour)
        d = "".join("M" + "L".join(f"{place(x)} {place(y)}" for x, y in np.array(line)) for line in lines)
        drawing.paths += [Path("under", d), Path("contour", d)]


def draw_tiles(drawing: Drawing, mark: Tiles, abreast: int) -> None:
    """Pictures in a grid with their captions, and a color bar where they share their colors."""
    drawing.axes = False
    if not mark.captions:
        return
    columns = min(tile_columns(len(mark.captions)), abreast)
    beside = 70 if mark.low is not None else 0
    side = max(_TILE, (WIDTH - 16 - beside) / columns)
    side = min(side, 2 * _TILE)
    inner = side - 8
    captions = [textwrap.wrap(caption, max(3, int(inner / _LETTER))) for caption in mark.captions]
    lines = min(2, max(map(len, captions)))
    down = inner * tile_ratio(mark) + LINE * lines + 6
    first = TOP + LINE * (lines - 1)
    colors = DIVERGING if mark.scale == "diverging" else "gray"
    for at, (words, values) in enumerate(zip(captions, mark.values, strict=True)):
        pixels = np.array(values, float)
        left, top = 8 + at % columns * side, first + at // columns * down
        if pixels.ndim == 3:
            rgb = (255 * pixels.clip(0, 1)).round().astype(np.uint8)
        else:
            rgb = _colored(pixels, colors, *color_ends(mark, float(pixels.min()), float(pixels.max())))
        height = inner * pixels.shape[0] / max(pixels.shape[1], 1)
        drawing.pictures.append(Picture(left, top, inner, height, _png(rgb)))
        shown = words if len(words) <= lines else [*words[: lines - 1], f"{words[lines - 1][:-1]}…"]
        for up, line in enumerate(reversed(shown)):
            drawing.ticks.append(Text(left + inner / 2, top - 4 - 15 * up, line))
    rows = math.ceil(len(mark.captions) / columns)
    drawing.width = max(WIDTH, 16 + columns * side + beside)
    drawing.height = first + rows * down
    if mark.low is not None and mark.high is not None:
        ends = color_ends(mark, mark.low, mark.high)
        _color_bar(drawing, colors, ends, 8 + columns * side, (first, first + inner * tile_ratio(mark)))


def _color_bar(
    drawing: Drawing, colors: str, ends: tuple[float, float], left: float, upright: tuple[float, float]
) -> None:
    top, bottom = upright
    ramp = np.linspace(1, 0, 128)[:, None]
    drawing.pictures.append(Picture(left, top, 10, bottom - top, _png(_colored(ramp, colors, 0, 1))))
    axis = Axis(low=ends[0], high=ends[1])
    scale = Scale(Panel(y=axis, marks=[Rule(y=ends[0]), Rule(y=ends[1])]), "y", bottom, top)
    drawing.ticks += [Text(left + 15, at + 4, text, "start") for at, text in scale.ticks]


def _categories(mark: Heatmap, cells: np.ndarray) -> np.ndarray:
    """RGBA of the colors of categories; a cell without one is transparent."""
    colors = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in map_colors(mark)]
    known = np.isfinite(cells)
    places = np.mod(np.round(np.where(known, cells, 0)), len(colors)).astype(int)
    return np.dstack([np.array(colors, np.uint8)[places], np.where(known, 255, 0).astype(np.uint8)])


def _colored(values: np.ndarray, colors: str, low: float, high: float) -> np.ndarray:
    shares = (values - low) / (high - low)
    return np.asarray(colormaps[colors](np.ma.masked_invalid(shares), bytes=True))


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _spread(edges: Sequence[float]) -> np.ndarray:
    """Which cell each pixel shows, from the left or the top: a pixel for a cell where all are equally large."""
    places = np.array(edges)
    falling = places[0] > places[-1]
    sizes = np.abs(np.diff(places))
    if np.ptp(sizes) < 1e-3:
        cells = np.arange(len(sizes))
        return cells[::-1] if falling else cells
    low, high = min(places[0], places[-1]), max(places[0], places[-1])
    middles = low + (np.arange(_ACROSS) + 0.5) * (high - low) / _ACROSS
    rising = places[::-1] if falling else places
    cells = np.clip(np.searchsorted(rising, middles) - 1, 0, len(sizes) - 1)
    return len(sizes) - 1 - cells if falling else cells


def _borders(z: np.ndarray, xs: Sequence[float], ys: Sequence[float]) -> list[Path]:
    """Lines between categories, unless nearly every cell is one of its own."""
    across, up = np.argwhere(z[:, 1:] != z[:, :-1]), np.argwhere(z[1:] != z[:-1])
    if not 0 < len(across) + len(up) < min(z.size / 2, _BORDERS):
        return []
    d = [f"M{place(xs[at + 1])} {place(ys[row])}V{place(ys[row + 1])}" for row, at in across]
    d += [f"M{place(xs[at])} {place(ys[row + 1])}H{place(xs[at + 1])}" for row, at in up]
    return [Path("border", "".join(d))]
