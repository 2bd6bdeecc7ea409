"""Write the page of a study, with its charts and numbers as files."""

import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment

from bench.attacks import ATTACKS
from bench.charts import Chart
from bench.charts.jinja import make_environment
from bench.charts.plotly import page as interactive
from bench.charts.png.figure import draw
from bench.charts.png.sizes import png_size
from bench.charts.table import table
from bench.core.files import write_json, write_text
from bench.core.names import dataset_label
from bench.study import predictor_words, wording
from bench.study.correlation import CorrelationResult
from bench.study.correlation_charts import correlation_charts
from bench.study.downloads import (
    correlation_json,
    measured_csv,
    networks_csv,
    predictors_json,
    table_csv,
    table_json,
)
from bench.study.indicators import PAPERS
from bench.study.measured import Measured
from bench.study.outline import count_trainings
from bench.study.predictor_charts import predictor_charts
from bench.study.predictors import ATTACKED, Predictors
from bench.study.protocol import budget_facts, dataset_facts, image_sets, row_settings
from bench.study.quantities import PROBED, REGRESSED
from bench.study.spec import CorrelationStudy, PredictorsStudy, TableStudy
from bench.study.table import TableResult
from bench.study.table_charts import table_charts
from bench.training.probes import ATTACK
from leaderboards import text
from leaderboards.assets import write_static
from leaderboards.markup import missing

PAGE = "index.html"


@dataclass(frozen=True)
class ChartFiles:
    """A chart and the size of its picture in pixels; its files are in `charts/`."""

    chart: Chart
    size: tuple[int, int] | None

    @property
    def stem(self) -> str:
        """The path of the chart's files relative to the page, without suffix."""
        return f"charts/{self.chart.name}"


def write_correlation(folder: Path, study: CorrelationStudy, result: CorrelationResult, command: str) -> Path:
    """Write the page of a correlation study, `candidates.csv`, `results.json` and the charts.

    Args:
        folder: where to write.
        study: the study.
        result: its results.
        command: the command that reproduces it.

    Returns:
        The page.
    """
    drawn = _write_charts(folder, correlation_charts(study, result), study.title)
    write_text(folder / "candidates.csv", networks_csv(result.networks))
    write_json(folder / "results.json", correlation_json(study, result, command))
    return _write_page(
        folder,
        "correlation",
        study=study,
        result=result,
        drawn=drawn,
        notes=(),
        command=command,
        tables={
            quantity: [each for each in result.regressions if each.quantity == quantity]
            for quantity in REGRESSED
        },
        quantities=PROBED,
        trainings=count_trainings(study),
        candidates=sum(each.kept for each in result.networks),
        facts=budget_facts(result.records),
        data=dataset_facts(study, result),
        attack=text.plain(ATTACKS[ATTACK].settings()),
    )


def write_table(folder: Path, study: TableStudy, result: TableResult, command: str) -> Path:
    """Write the page of a table study, `table.csv`, `results.json` and the charts.

    Args:
        folder: where to write.
        study: the study.
        result: its results.
        command: the command that reproduces it.

    Returns:
        The page.
    """
    drawn = _write_charts(folder, table_charts(study, result), study.title)
    write_text(folder / "table.csv", table_csv(study, result))
    write_json(folder / "results.json", table_json(study, result, command))
    attacks = {column.attack.name: column.attack for column in study.columns if column.attack}
    return _write_page(
        folder,
        "table",
        study=study,
        result=result,
        drawn=drawn,
        notes=result.notes,
        command=command,
        facts=budget_facts([record for row in result.rows for record in row.records]),
        attacks={name: text.plain(attack.settings()) for name, attack in attacks.items()},
        settings=row_settings(study),
        image_sets=image_sets(study, result),
        titles={column.name: wording.title_of(column) for column in study.columns},
        our_value=wording.our_value,
        paper_value=wording.paper_value,
        in_unit=wording.in_unit,
        difference=wording.difference,
        with_titles=text.with_titles,
    )


def write_predictors(
    folder: Path, study: PredictorsStudy, measured: Measured, result: Predictors, command: str
) -> Path:
    """Write the page of a predictors study, `networks.csv`, `results.json` and the charts.

    Args:
        folder: where to write.
        study: the study.
        measured: its networks.
        result: what was found.
        command: the command that reproduces it.

    Returns:
        The page.
    """
    drawn = _write_charts(folder, predictor_charts(result), study.title)
    words, of_papers = predictor_words.summary(result), predictor_words.by_paper(result)
    papers = [f"{paper}: {said}" for paper, said in of_papers.items()]
    write_text(folder / "networks.csv", measured_csv(measured))
    write_json(
        folder / "results.json", predictors_json(study, measured, result, [" ".join(words), *papers], command)
    )
    reasons = Counter(f"{each.group}: {each.left_out}" for each in measured.networks if each.left_out)
    return _write_page(
        folder,
        "predictors",
        study=study,
        result=result,
        drawn=drawn,
        notes=(),
        command=command,
        summary=words,
        attacked=ATTACKED,
        by_paper=of_papers,
        papers={
            paper: [each for each in result.findings if each.indicator.paper == paper] for paper in PAPERS
        },
        groups=Counter(each.group for each in (*result.networks, *result.broken)),
        strata=Counter(each.stratum for each in result.networks),
        images=sorted({len(each.survived) for each in measured.networks}),
        left_out=reasons,
        failures=measured.failures,
        facts=budget_facts(measured.records),
    )


def _write_charts(folder: Path, charts: Sequence[Chart], title: str) -> list[ChartFiles]:
    """Write every chart as a picture, an interactive page, CSV and JSON, in place of those of an earlier page."""
    place = folder / "charts"
    shutil.rmtree(place, ignore_errors=True)
    if charts:
        interactive.write_assets(place / "assets")
    drawn = []
    for chart in charts:
        names = {suffix.upper(): f"{chart.name}.{suffix}" for suffix in ("png", "csv", "json")}
        chart.save(place / names["JSON"])
        draw(chart, place / names["PNG"])
        write_text(place / names["CSV"], table(chart))
        page = interactive.page(chart, assets="assets/", links=names, back=(f"../{PAGE}", title))
        write_text(place / f"{chart.name}.html", page)
        drawn.append(ChartFiles(chart, png_size(place / names["PNG"])))
    return drawn


def _write_page(folder: Path, template: str, **context: Any) -> Path:
    write_static(folder / "static")
    page = _templates().get_template(f"{template}.html.j2").render(root="", **context)
    write_text(folder / PAGE, page)
    return folder / PAGE


@cache
def _templates() -> Environment:
    environment = make_environment("bench.study", "leaderboards")
    environment.filters.update(
        {name: getattr(text, name) for name in ("count", "duration", "number", "plain")}
    )
    environment.filters["dataset_label"] = dataset_label
    environment.globals.update(
        p_value=wording.p_value, tau=wording.tau, between=wording.between, missing=missing
    )
    return environment
