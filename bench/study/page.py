"""A study's page, its charts and its numbers as files."""

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from bench.attacks import ATTACKS
from bench.charts import Chart
from bench.charts.plotly import page as interactive
from bench.charts.png.figure import draw
from bench.charts.png.header import png_size
from bench.charts.table import table
from bench.core.files import write_json, write_text
from bench.core.names import dataset_label
from bench.core.record import Record
from bench.study.columns import Column
from bench.study.correlation import Candidate, CorrelationResult
from bench.study.figures import WORDS, correlation_charts, table_charts
from bench.study.spec import QUANTITIES, CorrelationStudy, Study, TableStudy
from bench.study.table import Cell, TableResult
from bench.training.probes import ATTACK
from bench.version import __version__
from leaderboards import text
from metrics import titles

PAGE = "index.html"


@dataclass(frozen=True)
class Drawn:
    """A chart and the files it was drawn to, by name below the page's folder."""

    chart: Chart
    size: tuple[int, int] | None

    @property
    def stem(self) -> str:
        """The path of every file of the chart, without its ending."""
        return f"charts/{self.chart.name}"


def write_correlation(folder: Path, study: CorrelationStudy, result: CorrelationResult, command: str) -> Path:
    """Write page, candidates as CSV, results as JSON and charts; the path of the page."""
    drawn = _draw(folder, correlation_charts(study, result), study.title)
    write_text(folder / "candidates.csv", _candidates_csv(result.candidates))
    write_json(folder / "results.json", _correlation_json(study, result, command))
    tables = {
        quantity: [each for each in result.regressions if each.quantity == quantity]
        for quantity in QUANTITIES
    }
    return _write(
        folder,
        "correlation",
        study=study,
        result=result,
        drawn=drawn,
        notes=(),
        command=command,
        tables=tables,
        words=WORDS,
        trainings=_count(study),
        kept=sum(each.kept for each in result.candidates),
        facts=_facts(result.records),
        data=_data(study, result),
        attack=text.plain(ATTACKS[ATTACK].settings()),
    )


def write_table(folder: Path, study: TableStudy, result: TableResult, command: str) -> Path:
    """Write page, cells as CSV, results as JSON and charts; the path of the page."""
    drawn = _draw(folder, table_charts(study, result), study.title)
    write_text(folder / "table.csv", _table_csv(study, result))
    write_json(folder / "results.json", _table_json(study, result, command))
    attacks = {column.attack.name: column.attack for column in study.columns if column.attack}
    return _write(
        folder,
        "table",
        study=study,
        result=result,
        drawn=drawn,
        notes=result.notes,
        command=command,
        facts=_facts([record for row in result.rows for record in row.records]),
        attacks={name: text.plain(attack.settings()) for name, attack in attacks.items()},
        settings=_row_settings(study),
        data_lines=_data_lines(study, result),
        titles={column.name: title_of(column) for column in study.columns},
        ours=ours,
        published=published,
        difference=difference,
    )


def outline(study: Study) -> str:
    """What a study would train, in a few lines."""
    if isinstance(study, CorrelationStudy):
        epochs = sum(
            len(study.models)
            * len(data.batch_sizes or study.batch_sizes)
            * len(data.seeds or study.seeds)
            * (data.epochs or study.epochs)
            for data in study.datasets.values()
        )
        return (
            f"{study.title}: {text.count(_count(study), 'training')} of {', '.join(study.models)} on "
            f"{', '.join(study.datasets)}, {epochs:,} epochs in all"
        )
    trainings = sum(len(row.config.seeds) for row in study.rows.values())
    return (
        f"{study.title}: {text.count(trainings, 'training')} ({', '.join(study.rows)}), "
        f"{text.count(len(study.columns), 'column')}, {text.count(len(study.claims), 'claim')}"
    )


def title_of(column: Column) -> str:
    """The heading of a column, with its unit."""
    title = column.title or titles().get(column.name, column.name)
    return f"{title} %" if column.percent and "%" not in title else title


def ours(cell: Cell, column: Column) -> str:
    """Our value in the unit of the column."""
    assert cell.value is not None, "the page asks only for values that are there"
    return (
        text.number(100 * cell.value, 1)
        if column.percent
        else text.quantity(cell.value, column.name, cell.unit)
    )


def published(cell: Cell, column: Column) -> str:
    """The paper's value, in the unit of the column as the study file states it."""
    return "" if cell.paper is None else text.number(cell.paper, 1 if column.percent else None)


def difference(value: float | None, percent: bool) -> str:
    """A difference with its sign, in points for shares of images."""
    if value is None:
        return "—"
    shown = text.number(100 * value, 1) + " points" if percent else text.number(value)
    return f"+{shown}" if value > 0 else shown


def _draw(folder: Path, charts: Sequence[Chart], title: str) -> list[Drawn]:
    """Every chart as picture, as a page to point at, and as data; those of an earlier page go."""
    place = folder / "charts"
    shutil.rmtree(place, ignore_errors=True)
    if charts:
        interactive.write_assets(place / "assets")
    drawn = []
    for chart in charts:
        files = {ending: f"{chart.name}.{ending.lower()}" for ending in ("PNG", "CSV", "JSON")}
        chart.save(place / files["JSON"])
        draw(chart, place / files["PNG"])
        write_text(place / files["CSV"], table(chart))
        page = interactive.page(chart, assets="assets/", links=files, back=(f"../{PAGE}", title))
        write_text(place / f"{chart.name}.html", page)
        drawn.append(Drawn(chart, png_size(place / files["PNG"])))
    return drawn


def _write(folder: Path, template: str, **context: Any) -> Path:
    with as_file(files("leaderboards") / "static") as static:
        shutil.copytree(static, folder / "static", copy_function=shutil.copyfile, dirs_exist_ok=True)
    environment = Environment(
        loader=ChoiceLoader(
            [PackageLoader("bench.study", "templates"), PackageLoader("leaderboards", "templates")]
        ),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            name: getattr(text, name)
            for name in ("breakable", "count", "dataset_label", "duration", "number", "plain")
        }
    )
    environment.globals.update(generator=f"regionbench {__version__}", p_value=p_value)
    page = environment.get_template(f"{template}.html.j2").render(root="", **context)
    write_text(folder / PAGE, page)
    return folder / PAGE


def p_value(value: float | None) -> str:
    """A p-value for reading."""
    if value is None:
        return "—"
    return "< 10⁻³⁰⁰" if value < 1e-300 else text.number(value, 3) if value >= 1e-3 else text.number(value)


def _count(study: CorrelationStudy) -> int:
    return sum(
        len(study.models) * len(data.batch_sizes or study.batch_sizes) * len(data.seeds or study.seeds)
        for data in study.datasets.values()
    )


def _facts(records: Sequence[Record]) -> dict[str, str]:
    """Budget, hardware and versions behind a set of records."""
    if not records:
        return {}
    hardware = {
        str(about.get("gpu") or about.get("processor") or about.get("device"))
        for about in (record.provenance.hardware for record in records)
    }
    seconds = sum(record.cost.train_seconds or 0.0 for record in records)
    measuring = sum(record.cost.evaluate_seconds for record in records)
    return {
        "Training time": f"{text.duration(seconds)} in all, validation and probes left out",
        "Measuring time": text.duration(measuring),
        "Hardware": ", ".join(sorted(hardware)),
        "Precision": ", ".join(sorted({record.training.precision for record in records if record.training})),
        "Commit": ", ".join(sorted({(record.provenance.commit or "unknown")[:12] for record in records})),
        "torch": ", ".join(
            sorted({record.provenance.versions.get("torch", "unknown") for record in records})
        ),
    }


def _data(study: CorrelationStudy, result: CorrelationResult) -> dict[str, dict[str, Any]]:
    """Images, threat, budget and candidates of each data set, as far as its trainings ended."""
    found: dict[str, dict[str, Any]] = {}
    for name, data in study.datasets.items():
        own = [each for each in result.candidates if each.dataset == name]
        runs = {each.run for each in own}
        record = next((each for each in result.records if each.provenance.run in runs), None)
        found[name] = {
            "record": record,
            "subset": data.train_size is not None or data.test_size is not None,
            "least": data.least_accuracy,
            "epochs": data.epochs or study.epochs,
            "every": data.probe_every or study.probe_every,
            "batch_sizes": data.batch_sizes or study.batch_sizes,
            "seeds": data.seeds or study.seeds,
            "probed": len(own),
            "kept": sum(each.kept for each in own),
            "attacked": max((each.attacked for each in own), default=0),
        }
    return found


def _data_lines(study: TableStudy, result: TableResult) -> list[str]:
    """The different image sets behind a table, one line each."""
    lines: dict[str, None] = {}
    for row in result.rows:
        config = study.rows[row.name].config
        for record in row.records:
            data = record.dataset
            subset = ", a subset" if config.train_size or config.test_size else ""
            lines[
                f"{dataset_label(data.name)}: {data.train_size:,} training and {data.test_size:,} test images"
                f"{subset}; attacks on {data.evaluated_size:,} of the test images"
            ] = None
    return list(lines)


def _row_settings(study: TableStudy) -> dict[str, str]:
    """Row → the words of its training that differ from the defaults."""
    return {
        name: " ".join(row.config.model_copy(update={"data_dir": None}).words())
        for name, row in study.rows.items()
    }


def _candidates_csv(candidates: Sequence[Candidate]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, [field.name for field in fields(Candidate)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in candidates)
    return stream.getvalue()


def _table_csv(study: TableStudy, result: TableResult) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(
        ["row", "column", "unit", "ours", "low", "high", "spread", "n", "paper", "paper_unit", "reason"]
    )
    for row in result.rows:
        for column in study.columns:
            cell = row.cells[column.name]
            paper_unit = "" if cell.paper is None else "%" if column.percent else cell.unit
            writer.writerow(
                [
                    row.name,
                    column.name,
                    cell.unit,
                    cell.value,
                    cell.low,
                    cell.high,
                    cell.spread,
                    cell.n,
                    cell.paper,
                    paper_unit,
                    cell.reason,
                ]
            )
    return stream.getvalue()


def _correlation_json(study: CorrelationStudy, result: CorrelationResult, command: str) -> dict[str, Any]:
    return {
        "study": json.loads(study.model_dump_json()),
        "version": __version__,
        "command": command,
        "regressions": [
            {**asdict(each), "published": each.published.model_dump() if each.published else None}
            for each in result.regressions
        ],
        "records": [record.id for record in result.records],
        "failures": result.failures,
    }


def _table_json(study: TableStudy, result: TableResult, command: str) -> dict[str, Any]:
    return {
        "title": study.title,
        "source": study.source,
        "version": __version__,
        "command": command,
        "columns": [
            {
                "name": column.name,
                "title": column.title,
                "metric": column.metric or None,
                "attack": column.attack.settings() if column.attack else None,
                "threat": str(column.threat) if column.threat else None,
                "paper_unit": "%" if column.percent else None,
            }
            for column in study.columns
        ],
        "rows": [
            {
                "name": row.name,
                "settings": study.rows[row.name].config.published(),
                "cells": {name: asdict(cell) for name, cell in row.cells.items()},
                "records": [record.id for record in row.records],
                "alarms": sorted(
                    {alarm.name for record in row.records for alarm in record.alarms if alarm.raised}
                ),
                "failures": row.failures,
            }
            for row in result.rows
        ],
        "claims": [
            {
                "claim": ruling.claim.text,
                "verdict": ruling.verdict,
                "difference": ruling.difference,
                "p_value": ruling.p_value,
                "test": ruling.test,
            }
            for ruling in result.rulings
        ],
    }
