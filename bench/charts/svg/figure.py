"""A chart as part of a page: SVG, its legend, its caption, and the table of what it shows."""

from operator import itemgetter

from markupsafe import Markup

from bench.charts.chart import Chart
from bench.charts.jinja import templates
from bench.charts.palette import style_numbers
from bench.charts.svg.data import data_table
from bench.charts.svg.drawing import WIDTH
from bench.charts.svg.markup import draw, show, table_rows, write
from bench.charts.svg.panel import draw_panel, has_many_points, legend

#: Small pictures that fit side by side on a phone.
ABREAST = 4


def figure(chart: Chart) -> Markup:
    """The chart as a `figure` element, which the page's style sheet gives its colors.

    Very many points have neither tooltips nor a table; maps and small pictures have no table.
    """
    numbers = style_numbers(chart)
    marks = [mark for panel in chart.panels for mark in panel.marks]
    many = any(map(has_many_points, chart.panels))
    tables = [(panel.title, data_table(panel)) for panel in chart.panels]
    text = (
        templates()
        .get_template("figure.html.j2")
        .render(
            chart=chart,
            drawings=[draw_panel(panel, numbers, ABREAST) for panel in chart.panels],
            keys=legend(marks, numbers),
            tables=[] if many else list(filter(itemgetter(1), tables)),
            least=WIDTH,
            draw=draw,
            show=show,
            write=write,
            table_rows=table_rows,
        )
    )
    return Markup(text)
