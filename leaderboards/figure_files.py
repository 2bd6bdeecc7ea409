"""Copy the figures of an entry into the site, and list them for its page."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from bench.charts import Chart, load_chart
from bench.charts.plotly.page import page
from bench.charts.png.sizes import png_size
from bench.charts.svg.standalone import standalone
from bench.charts.table import table
from bench.charts.topics import by_topic
from bench.core.errors import UserError
from bench.core.files import write_text
from bench.core.names import short_hash, slug
from leaderboards.entry import Entry
from leaderboards.left_out import LeftOut
from leaderboards.own_figures import Figure
from leaderboards.result import Result
from leaderboards.text import capital

#: Larger chart files, in bytes, are not shown.
LARGEST = 32 * 2**20
#: What is written of a chart → suffix of its file.
_FILES = {"page": "html", "table": "csv", "data": "json", "drawing": "svg"}


@dataclass(frozen=True)
class Picture:
    """A figure of one seed; paths are in the site.

    Attributes:
        path: the picture that came with the figure; empty where only its data did.
        drawing: the figure as SVG in the colors of light and dark pages; empty, as those below, where only the
            picture came.
    """

    seed: int
    width: int
    height: int
    path: str = ""
    page: str = ""
    table: str = ""
    data: str = ""
    drawing: str = ""

    @property
    def shown(self) -> str:
        """What a page shows."""
        return self.drawing or self.path


@dataclass(frozen=True)
class ShownFigure:
    """A figure of an entry, with a picture for each seed that has it."""

    name: str
    title: str
    caption: str
    source: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class WrittenFigures:
    """What was written: the figures of a page by heading, and those that were left out."""

    sections: dict[str, list[ShownFigure]]
    left_out: list[LeftOut]


def write_figures(entry: Entry, site: Path) -> WrittenFigures:
    """Write drawings, pictures, interactive pages, tables and data of an entry's figures below `site/figures`.

    Pictures are copied when they are PNG files. Drawings and pages come from the validated data alone: nothing
    that a submitter wrote is ever taken for markup.
    """
    found: dict[str, list[tuple[Picture, Chart | None]]] = {}
    left_out: list[LeftOut] = []
    for result in entry.results:
        for figure in result.figures:
            try:
                drawn = _write(entry, result, figure, site)
            except UserError as error:
                left_out.append(LeftOut.because(figure.path, error))
                continue
            found.setdefault(figure.name, []).append(drawn)
    return WrittenFigures(
        {
            heading: [_shown(name, found[name]) for name in names]
            for heading, names in by_topic(found).items()
        },
        left_out,
    )


def _write(entry: Entry, result: Result, figure: Figure, site: Path) -> tuple[Picture, Chart | None]:
    stem = f"figures/{result.digest[:12]}/{slug(figure.name)}-{short_hash(figure.name)}"
    chart = _read(figure)
    size = png_size(figure.picture) if figure.picture else None
    path = ""
    if figure.picture is not None and size is not None:
        path = f"{stem}.png"
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(figure.picture, site / path)
    if chart is None:
        if size is None:
            raise UserError(f"{figure.picture} is no PNG, so it is not shown")
        return Picture(result.record.seed, *size, path), None
    drawing, width, height = _draw(chart, figure)
    files = {name: f"{stem}.{suffix}" for name, suffix in _FILES.items()}
    picture = Picture(result.record.seed, width, height, path, **files)
    write_text(site / picture.drawing, drawing)
    write_text(site / picture.table, table(chart))
    write_text(site / picture.data, chart.model_dump_json())
    names = {"Drawing (SVG)": ".svg", "Table (CSV)": ".csv", "Data (JSON)": ".json"}
    if path:
        names = {"Picture (PNG)": ".png", **names}
    html = page(
        chart,
        assets="../../static/",
        links={word: f"{Path(stem).name}{suffix}" for word, suffix in names.items()},
        back=(f"../../entries/{entry.page}.html", f"{entry.defense.name} on {entry.model}"),
        icon="../../static/icon.svg",
    )
    write_text(site / picture.page, html)
    return picture, chart


def _read(figure: Figure) -> Chart | None:
    if figure.chart is None:
        return None
    if figure.chart.stat().st_size > LARGEST:
        raise UserError(f"{figure.chart} is larger than {LARGEST // 2**20} MiB, so it is not shown")
    chart = load_chart(figure.chart)
    if chart.name != figure.name:
        raise UserError(f"{figure.chart} calls its chart {chart.name!r}; it must be named after its file")
    return chart


def _draw(chart: Chart, figure: Figure) -> tuple[str, int, int]:
    try:
        return standalone(chart)
    except Exception as error:
        # One bad chart must not stop the site.
        raise UserError(f"{figure.chart} cannot be drawn: {type(error).__name__}: {error}") from error


def _shown(name: str, pairs: list[tuple[Picture, Chart | None]]) -> ShownFigure:
    chart = next((chart for _, chart in pairs if chart is not None), None)
    pictures = tuple(picture for picture, _ in pairs)
    if chart is None:
        words = name.replace("_", " ").replace("-", " ")
        return ShownFigure(name, capital(words), "", "", pictures)
    return ShownFigure(name, chart.title, chart.caption, chart.source, pictures)
