"""A chart as PNG, SVG or PDF: white paper, fixed fonts and sizes, so that the same chart gives the same bytes."""

import math
import textwrap
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from matplotlib import style
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, NullFormatter

from bench.charts.chart import Axis, Bars, Chart, Heatmap, Histogram, Line, Panel, Points, Rule, Tiles
from bench.charts.extent import roomy_ends
from bench.charts.numbers import power_of_ten
from bench.charts.palette import style_numbers
from bench.charts.png.fields import caption_lines, category_lines, draw_categories, draw_heatmap, draw_tiles
from bench.charts.png.marks import draw_bars, draw_histogram, draw_line, draw_points, draw_rule
from bench.charts.png.sizes import CAPTION, CHARACTER, HEIGHT, LEGEND, TILE, WIDTHS, wrapped
from bench.charts.ticks import tick_locator
from bench.charts.tiling import PanelRow, is_log, panel_rows, tile_columns, tile_ratio, tiles_of
from bench.charts.words import shortened
from bench.core.files import replacing

DPI = 120
#: Beyond these, ticks at each category only hide each other.
_NAMED_TICKS = 40
_SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#D9D9D9",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    # Names may hold a dollar sign.
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "regionbench",
}


def draw(chart: Chart, path: Path, *others: Path) -> None:
    """Write a chart as a picture, and the same picture in other formats, each whole or not at all.

    Args:
        chart: what is drawn.
        path, others: files that end in .png, .svg or .pdf; letters of a PDF are TrueType, as publishers ask for.
    """
    # The font draws boxes for letters that it lacks; a warning for each would only fill the log.
    with warnings.catch_warnings(), style.context(["default", _SETTINGS]):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = make_figure(chart)
        for each in (path, *others):
            with replacing(each) as temporary:
                _print(figure, temporary, each.suffix)


def _print(figure: Figure, path: Path, suffix: str) -> None:
    """Write a figure without a date, so that the same chart gives the same bytes."""
    if suffix == ".svg":
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None, "Creator": None})
    elif suffix == ".pdf":
        with path.open("wb") as file:
            FigureCanvasPdf(figure).print_pdf(file, metadata={"CreationDate": None, "Creator": None})
    else:
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})


def make_figure(chart: Chart) -> Figure:
    """A chart as matplotlib's figure, under the settings that are in force."""
    rows = panel_rows(chart)
    width, heights = _sizes(rows)
    title = wrapped(chart.title, width, 12)
    spaced = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06)
    figure = Figure(dpi=DPI, layout=spaced, facecolor="white")
    columns = math.lcm(*(row.places for row in rows))
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    numbers = style_numbers(chart)
    handles: dict[str, Artist] = {}
    for down, row in enumerate(rows):
        wide = columns // row.places
        for at, panel in enumerate(row.panels):
            axes = figure.add_subplot(grid[down, at * wide : (at + 1) * wide])
            _draw_panel(axes, panel, numbers, handles, width / row.places)
    figure.suptitle(title, fontsize=12)
    height = sum(heights) + 0.25 * (title.count("\n") + 1)
    if handles:
        names = [shortened(name, 48) for name in handles]
        across = max(1, int(width / (CHARACTER * max(map(len, names)) + 0.7)))
        # Matplotlib leaves out names that begin with an underscore.
        names = [f" {name}" if name.startswith("_") else name for name in names]
        figure.legend(
            list(handles.values()),
            names,
            loc="outside lower center",
            ncols=min(across, len(names)),
            frameon=False,
        )
        height += 0.21 * math.ceil(len(names) / across)
    figure.set_size_inches(width, height)
    return figure


def _sizes(rows: list[PanelRow]) -> tuple[float, list[float]]:
    width = max(_width(row) * row.places for row in rows)
    heights = []
    for row in rows:
        heights.append(HEIGHT + (0.3 if row.places == 1 else 0))
        inches = _width(row)
        lines = [category_lines(mark, inches) for mark in _maps(row.panels)]
        heights[-1] += LEGEND * max(lines, default=0)
        alone = tiles_of(row.panels[0]) if row.places == 1 else None
        if alone:
            across = tile_columns(len(alone.captions))
            width = max(width, min(across * TILE + 0.3, 12))
            down = math.ceil(len(alone.captions) / across)
            captions = caption_lines(alone, min(TILE, 12 / across)) * CAPTION
            heights[-1] = down * (tile_ratio(alone) * min(TILE, 12 / across) + captions) + 0.35
    return width, heights


def _maps(panels: Sequence[Panel]) -> list[Heatmap]:
    return [mark for panel in panels for mark in panel.marks if isinstance(mark, Heatmap)]


def _width(row: PanelRow) -> float:
    """Width of a panel in inches; square panels of one group are as narrow as in a row of three."""
    close = row.together and all(panel.square for panel in row.panels)
    return min(WIDTHS[row.places], WIDTHS[3]) if close else WIDTHS[row.places]


def _draw_panel(
    axes: Axes, panel: Panel, numbers: dict[str, int], handles: dict[str, Artist], width: float
) -> None:
    bars = [mark for mark in panel.marks if isinstance(mark, Bars)]
    categories = list(dict.fromkeys(name for mark in bars for name in mark.categories))
    filled = any(isinstance(mark, Heatmap | Tiles) for mark in panel.marks)
    rules, below = 0, dict.fromkeys(categories, 0.0)
    axes.set_title("\n".join(textwrap.wrap(panel.title, max(12, int(width / CHARACTER)))))
    if not filled:
        axes.grid(True)
    if is_log(panel, "x"):
        axes.set_xscale("log", nonpositive="clip")
    if is_log(panel, "y"):
        axes.set_yscale("log", nonpositive="clip")
    for mark in panel.marks:
        name = "" if isinstance(mark, Tiles) else mark.name
        number = numbers.get(name, 0)
        handle: Artist | None = None
        match mark:
            case Line():
                handle = draw_line(axes, panel, mark, number)
            case Points():
                handle = draw_points(axes, panel, mark, number, filled)
            case Bars():
                # Stacked bars share one place.
                place = (0, 1) if mark.stacked else (bars.index(mark), len(bars))
                handle = draw_bars(axes, mark, number, categories, *place, below)
                if mark.stacked:
                    for category, value in zip(mark.categories, mark.values, strict=True):
                        below[category] += value or 0.0
            case Histogram():
                handle = draw_histogram(axes, mark, number)
            case Rule():
                handle, rules = draw_rule(axes, mark, rules), rules + 1
            case Heatmap():
                draw_heatmap(axes, panel, mark)
                draw_categories(axes, mark, width)
            case Tiles():
                draw_tiles(axes, mark, width)
        if handle is not None and name:
            handles.setdefault(name, handle)
    _label(axes, panel, categories, width)


def _label(axes: Axes, panel: Panel, categories: list[str], width: float) -> None:
    if tiles_of(panel):
        return
    axes.set(xlabel=wrapped(panel.x.label, width), ylabel=wrapped(panel.y.label, HEIGHT))
    sides: list[tuple[Axis, Literal["x", "y"], Any]] = [
        (panel.x, "x", axes.xaxis),
        (panel.y, "y", axes.yaxis),
    ]
    for axis, name, drawn in sides:
        low, high = getattr(axes, f"get_{name}lim")()
        drawn.set_major_locator(tick_locator(panel, name, low, high))
        if is_log(panel, name):
            drawn.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
            drawn.set_minor_formatter(NullFormatter())
        ticks = [float(at) for at in range(len(categories))] if categories and name == "x" else axis.ticks
        labels = categories if categories and name == "x" else axis.tick_labels
        if ticks:
            # A square panel is narrower than its place, and a color bar takes its part.
            _set_ticks(axes, name, ticks, labels, width * (0.7 if panel.square else 1.0))
        _set_ends(axes, name, roomy_ends(panel, name))
    if panel.square:
        axes.set_aspect("equal", adjustable="box")


def _set_ticks(axes: Axes, name: str, ticks: list[float], labels: list[str], width: float) -> None:
    every = math.ceil(len(ticks) / _NAMED_TICKS)
    ticks, labels = ticks[::every], [shortened(label, 32) for label in labels[::every]]
    if not labels:
        getattr(axes, f"set_{name}ticks")(ticks)
        return
    room = int(0.6 * width / len(ticks) / CHARACTER) if name == "x" else 24
    words = max((len(word) for label in labels for word in label.split()), default=0)
    if words <= room:
        labels = ["\n".join(textwrap.wrap(label, room)) or label for label in labels]
    places = {} if words <= room else {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    getattr(axes, f"set_{name}ticks")(ticks, labels=labels, **places)


def _set_ends(axes: Axes, name: str, given: tuple[float | None, float | None]) -> None:
    if given != (None, None):
        low, high = getattr(axes, f"get_{name}lim")()
        ends = (low if given[0] is None else given[0], high if given[1] is None else given[1])
        if ends[0] != ends[1]:
            getattr(axes, f"set_{name}lim")(*ends)


def _power(value: float) -> str:
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    times = "" if mantissa == "1" else f"{mantissa}·"
    return f"{times}{power_of_ten(int(exponent))}"
