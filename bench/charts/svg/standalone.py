"""A chart as an SVG file that follows the reader's light or dark theme."""

import math

from bench.charts.chart import Chart
from bench.charts.jinja import templates
from bench.charts.palette import COLORS, DARK_COLORS, style_numbers
from bench.charts.svg.drawing import LINE, WIDTH, Drawing, place_keys
from bench.charts.svg.markup import draw, show, write
from bench.charts.svg.panel import draw_panel, legend
from bench.charts.tiling import panel_rows

#: Letters that fit beside each other in a panel's width.
LETTERS = 56


def standalone(chart: Chart) -> tuple[str, int, int]:
    """A chart without its title as an SVG file, its width and its height."""
    numbers = style_numbers(chart)
    places: list[tuple[float, float, Drawing]] = []
    width, top = float(WIDTH), 0.0
    for row in panel_rows(chart):
        drawings = [draw_panel(panel, numbers) for panel in row.panels]
        x = 0.0
        for drawing in drawings:
            places.append((x, top, drawing))
            x += drawing.width
        width = max(width, x)
        top += LINE + max(drawing.height for drawing in drawings)
    marks = [mark for panel in chart.panels for mark in panel.marks]
    keys, below = place_keys(legend(marks, numbers), width, LETTERS)
    size = math.ceil(width), math.ceil(top + below + 6)
    text = (
        templates()
        .get_template("standalone.svg.j2")
        .render(
            places=places,
            keys=keys,
            top=top,
            size=size,
            line=LINE,
            letters=LETTERS,
            colors=COLORS,
            dark_colors=DARK_COLORS,
            draw=draw,
            show=show,
            write=write,
        )
    )
    return text, *size
