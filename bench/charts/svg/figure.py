"""A chart as part of a page: SVG, its legend, its caption, and the table of what it shows."""

from markupsafe import Markup

from bench.charts.chart import Chart, Line, Points, Rule
from bench.charts.jinja import templates
from bench.charts.palette import style_numbers
from bench.charts.svg.data import data_table
from bench.charts.svg.drawing import HEIGHT, WIDTH
from bench.charts.svg.markup import draw, table_rows, write
from bench.charts.svg.panel import draw_panel, has_many_points, legend


def figure(chart: Chart) -> Markup:
    """The chart as a `figure` element, which the page's style sheet gives its colors.

    Very many points have neither tooltips nor a table.

    Raises:
        ValueError: for marks other than lines, points and rules, which the other renderers show.
    """
    numbers = style_numbers(chart)
    marks = [mark for panel in chart.panels for mark in panel.marks]
    for mark in marks:
        if not isinstance(mark, Line | Points | Rule):
            raise ValueError(f"a page shows lines, points and rules, not {mark.kind}")
    many = any(map(has_many_points, chart.panels))
    text = (
        templates()
        .get_template("figure.html.j2")
        .render(
            chart=chart,
            drawings=[draw_panel(panel, numbers) for panel in chart.panels],
            keys=legend(marks, numbers),
            tables=[] if many else [data_table(panel) for panel in chart.panels],
            width=WIDTH,
            height=HEIGHT,
            draw=draw,
            write=write,
            table_rows=table_rows,
        )
    )
    return Markup(text)
