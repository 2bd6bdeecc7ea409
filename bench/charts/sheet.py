"""A contact sheet: every chart of a folder on one page, each with its picture, its own page, its table and data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.charts.chart import Chart
from bench.charts.jinja import templates
from bench.charts.plotly.page import page, write_assets
from bench.charts.png.sizes import png_size
from bench.charts.table import table
from bench.charts.topics import by_topic
from bench.core.files import write_text

INDEX = "index.html"
#: What lies beside a chart's page → how its name ends.
LINKS = {
    "Picture (PNG)": ".png",
    "SVG": ".svg",
    "PDF": ".pdf",
    "Table (CSV)": ".csv",
    "Data (JSON)": ".json",
}
#: Pictures wider than this, in pixels, take the whole width of the sheet.
_WIDE = 900


@dataclass(frozen=True)
class _Picture:
    chart: Chart
    links: Mapping[str, str]
    width: int
    height: int

    @property
    def wide(self) -> bool:
        return self.width > _WIDE


@dataclass(frozen=True)
class SheetNetwork:
    """One of the networks on a comparison sheet: its name, what it is, and the path of its page."""

    name: str
    what: str
    page: str


def write_sheet(
    folder: Path,
    charts: Sequence[Chart],
    title: str,
    facts: Mapping[str, str],
    *,
    networks: Sequence[SheetNetwork] = (),
    notes: Sequence[str] = (),
) -> Path:
    """Write `index.html`, and beside the NAME.png and NAME.json of each chart its NAME.html and NAME.csv.

    Args:
        folder: where the pictures and the data lie already.
        charts: in any order; the sheet sorts them by topic.
        title: heading of the sheet.
        facts: word → what the figures were made from.
        networks: the networks that are compared, each with a page of its own.
        notes: sentences about what is not shown.
    """
    write_assets(folder)
    pictures = {}
    for chart in charts:
        links = {
            label: f"{chart.name}{suffix}"
            for label, suffix in LINKS.items()
            if suffix == ".csv" or (folder / f"{chart.name}{suffix}").exists()
        }
        write_text(folder / f"{chart.name}.csv", table(chart))
        write_text(folder / f"{chart.name}.html", page(chart, links=links, back=(INDEX, "All figures")))
        pictures[chart.name] = _Picture(chart, links, *(png_size(folder / f"{chart.name}.png") or (0, 0)))
    sections = {heading: [pictures[name] for name in names] for heading, names in by_topic(pictures).items()}
    template = templates().get_template("sheet.html.j2")
    text = template.render(title=title, facts=facts, sections=sections, networks=networks, notes=notes)
    write_text(folder / INDEX, text)
    return folder / INDEX
