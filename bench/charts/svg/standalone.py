"""A chart of lines, points and rules as an SVG file that follows the reader's light or dark theme."""

from bench.charts.chart import Chart, Line, Points, Rule
from bench.charts.jinja import templates
from bench.charts.palette import COLORS, DARK_COLORS, style_numbers
from bench.charts.svg.markup import draw, write
from bench.charts.svg.panel import HEIGHT, WIDTH, draw_panel, legend
from bench.charts.tiling import panel_rows

#: Height of a line of the legend, and letters that fit beside each other in a panel's width.
LINE, LETTERS = 20, 56


def is_drawable(chart: Chart) -> bool:
    """Whether every mark is one that SVG shows."""
    return all(isinstance(mark, Line | Points | Rule) for panel in chart.panels for mark in panel.marks)


def standalone(chart: Chart) -> tuple[str, int, int]:
    """A chart without its title as an SVG file, its width and its height.

    Raises:
        ValueError: for marks other than lines, points and rules.
    """
    numbers = style_numbers(chart)
    rows = panel_rows(chart)
    across = max(len(row.panels) for row in rows)
    places = [
        (WIDTH * at, (HEIGHT + LINE) * down, draw_panel(panel, numbers))
        for down, row in enumerate(rows)
        for at, panel in enumerate(row.panels)
    ]
    marks = [mark for panel in chart.panels for mark in panel.marks]
    keys, x, y = [], 12, 0
    for key in legend(marks, numbers):
        wide = 40 + 8 * min(len(key.name), LETTERS)
        if x > 12 and x + wide > across * WIDTH:
            x, y = 12, y + LINE
        keys.append((x, y, key))
        x += wide
    top = len(rows) * (HEIGHT + LINE)
    height = top + y + LINE + 6
    text = (
        templates()
        .get_template("standalone.svg.j2")
        .render(
            places=places,
            keys=keys,
            top=top,
            width=across * WIDTH,
            height=height,
            panel=(WIDTH, HEIGHT),
            line=LINE,
            letters=LETTERS,
            colors=COLORS,
            dark_colors=DARK_COLORS,
            draw=draw,
            write=write,
        )
    )
    return text, across * WIDTH, height
