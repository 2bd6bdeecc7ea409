"""Heat maps and small pictures on a picture's axes."""

import math
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from bench.charts.chart import Heatmap, Panel, Tiles
from bench.charts.palette import DIVERGING, SEQUENTIAL, color_ends, map_colors, named_categories
from bench.charts.png.sizes import CAPTION, CHARACTER, HEIGHT, TILE, wrapped
from bench.charts.tiling import cell_edges, is_log, tile_columns, tile_ratio
from bench.charts.words import shortened


def draw_heatmap(axes: Axes, panel: Panel, mark: Heatmap) -> None:
    """A map with its color bar, or with borders between its categories, and its contour."""
    z = np.array([[np.nan if value is None else value for value in row] for row in mark.z], float)
    z = z.reshape(len(mark.y), len(mark.x))
    axes.set_facecolor("#DDDDDD")
    if z.size == 0 or not np.isfinite(z).any():
        return
    edges = cell_edges(mark.x, is_log(panel, "x")), cell_edges(mark.y, is_log(panel, "y"))
    if mark.scale == "categorical":
        _categories(axes, mark, z, edges)
    else:
        low, high = color_ends(mark, float(np.nanmin(z)), float(np.nanmax(z)))
        name = DIVERGING if mark.scale == "diverging" else SEQUENTIAL
        drawn = axes.pcolormesh(*edges, z, cmap=name, vmin=low, vmax=high)
        beside = axes.inset_axes((1.03, 0, 0.045, 1))
        bar = axes.figure.colorbar(drawn, cax=beside, label=wrapped(mark.unit, HEIGHT))
        bar.outline.set_visible(False)
    if mark.contour is not None and min(z.shape) > 1 and np.nanmin(z) < mark.contour < np.nanmax(z):
        for color, wide in (("white", 2.4), ("black", 1.1)):
            axes.contour(mark.x, mark.y, z, levels=[mark.contour], colors=[color], linewidths=[wide])


def _categories(axes: Axes, mark: Heatmap, z: np.ndarray, edges: tuple[list[float], list[float]]) -> None:
    colors = map_colors(mark)
    places = np.mod(np.round(z), len(colors))
    axes.pcolormesh(*edges, places, cmap=ListedColormap(colors), vmin=-0.5, vmax=len(colors) - 0.5)
    (xs, ys), lines = edges, []
    for row, column in np.argwhere(z[:, 1:] != z[:, :-1]):
        lines.append([(xs[column + 1], ys[row]), (xs[column + 1], ys[row + 1])])
    for row, column in np.argwhere(z[1:] != z[:-1]):
        lines.append([(xs[column], ys[row + 1]), (xs[column + 1], ys[row + 1])])
    # Where nearly every cell is a region of its own, the borders would hide the colors.
    if len(lines) < z.size / 2:
        axes.add_collection(LineCollection(lines, colors="black", linewidths=0.4), autolim=False)


def draw_categories(axes: Axes, mark: Heatmap, width: float) -> None:
    """What the colors of a categorical map mean, below its own axes of `width` inches."""
    named = named_categories(mark) if mark.scale == "categorical" else {}
    if not named:
        return
    names = [shortened(name, 40) for name in named]
    below = ScaledTranslation(0, -0.52, axes.figure.dpi_scale_trans)  # the axis' own words
    axes.legend(
        [Patch(facecolor=color, edgecolor="black", linewidth=0.6) for color in named.values()],
        # Matplotlib leaves out names that begin with an underscore.
        [f" {name}" if name.startswith("_") else name for name in names],
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        bbox_transform=axes.transAxes + below,
        ncols=_abreast(names, width),
        fontsize=8,
        frameon=False,
        handlelength=1.2,
        handletextpad=0.4,
        columnspacing=1.0,
        labelspacing=0.3,
        borderpad=0,
        borderaxespad=0,
    )


def category_lines(mark: Heatmap, width: float) -> int:
    """Lines of that legend."""
    names = [shortened(name, 40) for name in named_categories(mark)] if mark.scale == "categorical" else []
    return math.ceil(len(names) / _abreast(names, width)) if names else 0


def _abreast(names: list[str], width: float) -> int:
    fitting = int(width / (0.9 * CHARACTER * max(map(len, names)) + 0.3))
    return max(1, min(len(names), fitting))


def draw_tiles(axes: Axes, mark: Tiles, width: float) -> None:
    """Pictures in a grid with their captions, and a color bar where they share their colors."""
    axes.set_axis_off()
    if not mark.captions:
        return
    columns = tile_columns(len(mark.captions))
    inch = width / columns  # of one picture's cell
    strip = caption_lines(mark, inch) * CAPTION / min(inch, TILE)
    down = tile_ratio(mark) + strip + 0.04
    colors = DIVERGING if mark.scale == "diverging" else "gray"
    for at, (caption, picture) in enumerate(zip(mark.captions, mark.values, strict=True)):
        left, top = at % columns, at // columns * down + strip
        pixels = np.array(picture, float)
        bottom = top + 0.92 * pixels.shape[0] / max(pixels.shape[1], 1)
        low, high = (0.0, 1.0) if pixels.ndim == 3 else color_ends(mark, pixels.min(), pixels.max())
        axes.imshow(
            pixels.clip(0, 1) if pixels.ndim == 3 else pixels,
            cmap=colors,
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
        shared = ScalarMappable(Normalize(*color_ends(mark, mark.low, mark.high)), colors)
        beside = axes.inset_axes((1.01, 0.05, 0.015, 0.8))
        bar = axes.figure.colorbar(shared, cax=beside)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7)


def _letters(inch: float) -> int:
    return max(6, int(inch / 0.062))


def caption_lines(mark: Tiles, inch: float) -> int:
    """Lines that the captions over pictures of this width need, two at most."""
    return 1 if all(len(caption) <= _letters(inch) for caption in mark.captions) else 2
