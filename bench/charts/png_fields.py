"""What fills a panel of a picture: heat maps and small pictures."""

import math
import textwrap

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Patch

from bench.charts.chart import Heatmap, Panel, Tiles
from bench.charts.palette import DIVERGING, SEQUENTIAL, category_colours, colour_ends
from bench.charts.png_sizes import CAPTION, HEIGHT, TILE, shortened, wrapped
from bench.charts.tiling import cell_edges, is_log, tile_columns, tile_ratio

#: Name → what stands beside it in the legend.
Handles = dict[str, Artist]


def draw_heatmap(axes: Axes, panel: Panel, mark: Heatmap, handles: Handles) -> None:
    """A map with its color bar, or with its categories in the legend, and its contour."""
    z = np.array([[np.nan if value is None else value for value in row] for row in mark.z], float)
    z = z.reshape(len(mark.y), len(mark.x))
    axes.set_facecolor("#DDDDDD")
    if z.size == 0 or not np.isfinite(z).any():
        return
    edges = cell_edges(mark.x, is_log(panel, "x")), cell_edges(mark.y, is_log(panel, "y"))
    if mark.scale == "categorical":
        _categories(axes, mark, z, edges, handles)
    else:
        low, high = colour_ends(mark, float(np.nanmin(z)), float(np.nanmax(z)))
        name = DIVERGING if mark.scale == "diverging" else SEQUENTIAL
        drawn = axes.pcolormesh(*edges, z, cmap=name, vmin=low, vmax=high)
        beside = axes.inset_axes((1.03, 0, 0.045, 1))
        bar = axes.figure.colorbar(drawn, cax=beside, label=wrapped(mark.unit, HEIGHT))
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


def draw_tiles(axes: Axes, mark: Tiles, width: float) -> None:
    """Pictures in a grid with their captions, and a color bar where they share their colors."""
    axes.set_axis_off()
    if not mark.captions:
        return
    columns = tile_columns(len(mark.captions))
    inch = width / columns  # of one picture's cell
    strip = caption_lines(mark, inch) * CAPTION / min(inch, TILE)
    down = tile_ratio(mark) + strip + 0.04
    colours = DIVERGING if mark.scale == "diverging" else "gray"
    for at, (caption, picture) in enumerate(zip(mark.captions, mark.values, strict=True)):
        left, top = at % columns, at // columns * down + strip
        pixels = np.array(picture, float)
        bottom = top + 0.92 * pixels.shape[0] / max(pixels.shape[1], 1)
        low, high = (0.0, 1.0) if pixels.ndim == 3 else colour_ends(mark, pixels.min(), pixels.max())
        axes.imshow(
            pixels.clip(0, 1) if pixels.ndim == 3 else pixels,
            cmap=colours,
            vmin=low,
            vmax=high,
            extent=(left, left + 0.92, bottom, top),
            interpolation="nearest",
        )
        lines = textwrap.wrap(caption, _letters(inch))
        text = "\n".join([*lines[:1], shortened(" ".join(lines[1:]), _letters(inch))]).strip()
        axes.text(left + 0.46, top - 0.03, text, ha="center", va="bottom", fontsize=7)
    axes.set(xlim=(-0.02, columns - 0.06), ylim=(math.ceil(len(mark.captions) / columns) * down, 0))
    axes.set_aspect("equal")
    if mark.low is not None and mark.high is not None:
        shared = ScalarMappable(Normalize(*colour_ends(mark, mark.low, mark.high)), colours)
        beside = axes.inset_axes((1.01, 0.05, 0.015, 0.8))
        bar = axes.figure.colorbar(shared, cax=beside)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)


def _letters(inch: float) -> int:
    return max(6, int(inch / 0.062))


def caption_lines(mark: Tiles, inch: float) -> int:
    """Lines that the captions over pictures of this width need, two at most."""
    return 1 if all(len(caption) <= _letters(inch) for caption in mark.captions) else 2
