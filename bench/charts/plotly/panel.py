"""One panel of a chart in plotly's terms."""

import math
from typing import Literal

from bench.charts.chart import Bars, Heatmap, Histogram, Line, Mark, Panel, Points, Rule, Tiles
from bench.charts.extent import roomy_ends
from bench.charts.plotly.canvas import Canvas, Json
from bench.charts.plotly.escape import safe
from bench.charts.plotly.fields import add_heatmap, add_tiles
from bench.charts.plotly.marks import add_bars, add_histogram, add_line, add_points, add_rule
from bench.charts.tiling import is_log, tile_columns, tile_ratio, tiles_of
from bench.charts.words import shortened


def draw_panel(panel: Panel, at: int, numbers: dict[str, int], data: list[Json], layout: Json) -> Json:
    """Add a panel to plotly's lists: marks, axes, title; return what the script needs to place it.

    Args:
        at: the panel's place among those of the chart.
        numbers: name of a mark → the number of its style.
        data, layout: plotly's description of the chart, extended in place.
    """
    canvas, tiles = Canvas(panel, at, numbers, data, layout), tiles_of(panel)
    layout[f"xaxis{canvas.suffix}"] = _axis(canvas, "x")
    layout[f"yaxis{canvas.suffix}"] = _axis(canvas, "y")
    if panel.square:
        layout[f"yaxis{canvas.suffix}"] |= {"scaleanchor": canvas.axes["xaxis"], "constrain": "domain"}
        layout[f"xaxis{canvas.suffix}"]["constrain"] = "domain"
    if panel.title:
        canvas.write(safe(panel.title), 0.5, 1.0, shift=6, size=14, within=True)
    for mark in panel.marks:
        _draw(canvas, mark)
    height = None
    if tiles:
        across = tile_columns(len(tiles.captions))
        height = math.ceil(len(tiles.captions) / across) * (tile_ratio(tiles) + 0.25) / across
    across, up = (
        min(max(map(len, labels), default=0), 32)
        for labels in (canvas.categories or panel.x.tick_labels, panel.y.tick_labels)
    )
    return {
        "axes": canvas.suffix,
        "coloraxis": canvas.color_axis,
        "ratio": height,
        "across": tile_columns(len(tiles.captions)) if tiles else None,
        "letters": max(map(len, tiles.captions)) if tiles else None,
        "square": panel.square,
        "categories": canvas.named,
        "labels": [safe(axis.label) for axis in (panel.x, panel.y)],
        # Pixels for the labels of the axes.
        "left": 0 if tiles else 62 + 6 * max(0, up - 4),
        "below": 16 if tiles else 66 + 5 * max(0, across - 6),
    }


def _draw(canvas: Canvas, mark: Mark) -> None:
    match mark:
        case Line():
            add_line(canvas, mark)
        case Points():
            add_points(canvas, mark)
        case Bars():
            add_bars(canvas, mark)
        case Histogram():
            add_histogram(canvas, mark)
        case Heatmap():
            add_heatmap(canvas, mark)
        case Tiles():
            add_tiles(canvas, mark)
        case Rule():
            add_rule(canvas, mark)


def _axis(canvas: Canvas, letter: Literal["x", "y"]) -> Json:
    axis = canvas.panel.x if letter == "x" else canvas.panel.y
    log = is_log(canvas.panel, letter)
    other = {"x": "y", "y": "x"}[letter]
    drawn: Json = {"anchor": canvas.axes[f"{other}axis"], "title": {"text": safe(axis.label)}}
    drawn |= {"type": "log" if log else "linear", "zeroline": False}
    ends = roomy_ends(canvas.panel, letter)
    if ends != (None, None):
        drawn["range"] = [end if end is None or not log else math.log10(end) for end in ends]
    ticks, labels = axis.ticks, axis.tick_labels
    if canvas.categories and letter == "x":
        ticks, labels = [float(at) for at in range(len(canvas.categories))], canvas.categories
    if ticks:
        drawn["tickvals"] = ticks
        if labels:
            drawn["ticktext"] = [safe(shortened(label, 32)) for label in labels]
    return drawn
