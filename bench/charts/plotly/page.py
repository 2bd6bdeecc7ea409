"""A chart as an interactive page: plotly's description of it, drawn by a script that is stored beside the page.

Nothing is fetched from anywhere else. Text is escaped, because plotly interprets some markup in every string.
"""

import html
import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.resources import as_file, files
from pathlib import Path

from markupsafe import Markup

from bench.charts.chart import Chart
from bench.charts.jinja import templates
from bench.charts.palette import COLORS, DARK_COLORS, style_numbers
from bench.charts.plotly.canvas import Json
from bench.charts.plotly.panel import draw_panel
from bench.charts.tiling import TOGETHER, panel_columns

#: The script that gives a page the theme that its reader chose.
THEME = "theme.js"
#: What pages of charts need beside them: plotly's script of flat charts, version 4.1.1, ours, and the style sheet.
ASSETS = ("plotly.min.js", "plotly.LICENSE", "charts.js", "charts.css", THEME)


def write_assets(folder: Path, names: Iterable[str] = ASSETS) -> None:
    """Write the files that `page` and `division` refer to into a folder, once for all its charts."""
    folder.mkdir(parents=True, exist_ok=True)
    with as_file(files("bench.charts") / "static") as static:
        for name in names:
            shutil.copyfile(static / name, folder / name)


def page(
    chart: Chart,
    *,
    assets: str = "",
    links: Mapping[str, str] | None = None,
    back: tuple[str, str] | None = None,
    icon: str = "data:,",
) -> str:
    """A page of one chart; it follows the reader's light or dark theme.

    Args:
        assets: the path from the page to the folder of `write_assets`, empty or ending in a slash.
        links: word → path, shown below the chart: where the picture, the table and the data lie.
        back: path and words of the page to return to.
        icon: path of the page's icon; by default none is asked for.
    """
    template = templates().get_template("page.html.j2")
    return template.render(
        chart=chart,
        figure=Markup(division(chart)),
        assets=assets,
        links=links or {},
        back=back,
        icon=icon,
    )


def division(chart: Chart) -> str:
    """The chart as a part of a page that loads the assets; its data stand in a block that no browser runs."""
    text = json.dumps(describe(chart), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # "</script>" and "<!--" would end the block.
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    label = html.escape(chart.title)
    return (
        f'<div class="plot" role="group" aria-label="{label}">'
        f'<script type="application/json">{text}</script>'
        "<p>The chart is drawn by a script; without one, its picture and its numbers are linked nearby.</p></div>"
    )


def describe(chart: Chart) -> Json:
    """The chart in plotly's terms: `data` and `layout` without colors and places, which `charts.js` adds.

    Beside them stand the panels (axes, color bar, height), how many fit side by side, which belong together, and
    the colors.
    """
    numbers = style_numbers(chart)
    data: list[Json] = []
    layout: Json = {"annotations": [], "shapes": [], "barmode": "group", "showlegend": False}
    panels = []
    for at, panel in enumerate(chart.panels):
        panels.append(draw_panel(panel, at, numbers, data, layout))
    named: set[str] = set()
    for item in [*data, *layout["shapes"]]:
        # Of the marks of one name, in whatever panel, the first stands in the legend for all.
        name = item.get("legendgroup")
        if name and item.setdefault("showlegend", name not in named):
            named.add(name)
    layout["showlegend"] = bool(named)
    return {
        "data": data,
        "layout": layout,
        "panels": panels,
        "columns": TOGETHER if chart.rows else panel_columns(chart.panels),
        "rows": chart.rows,
        "colors": {"light": COLORS, "dark": DARK_COLORS},
    }
