"""A table study: rows are trainings, columns are measurements, with the paper's numbers beside ours."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bench.charts import Chart
from bench.core.names import short_hash, slug
from bench.core.record import Record, load_record, read_arrays
from bench.evaluation.battery import Battery
from bench.evaluation.files import unflatten
from bench.study.claims import JudgedClaim, SeedScores, judge_claim
from bench.study.columns import Column, battery_of
from bench.study.ended import EndedTraining
from bench.study.spec import TableStudy
from bench.sweep.cells import Request
from metrics.base import Metric


@dataclass(frozen=True)
class Cell:
    """One measurement of one row over its seeds, beside the paper's number.

    Attributes:
        value: mean over the seeds that have a value, in the unit of the score; None with a `reason`.
        low, high: mean of the seeds' 95 % intervals; None where the score has none.
        spread: standard deviation over seeds; None for one seed.
        n: number of images; None where the score states none.
        unit: of the score.
        reason: why there is no value.
        paper: the paper's number in the unit of the column, or None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    spread: float | None = None
    n: int | None = None
    unit: str = ""
    reason: str = ""
    paper: float | None = None


@dataclass
class RowResult:
    """A row's trainings and cells.

    Attributes:
        paths, records, arrays: of the trainings that ended, one per seed.
        failures: trainings that failed, each in one line.
    """

    name: str
    paths: list[Path] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    arrays: list[Mapping[str, np.ndarray]] = field(default_factory=list)
    cells: dict[str, Cell] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@dataclass
class TableResult:
    """The results of a table study.

    Attributes:
        charts: figures of the metrics that the study names, row by row, then with the rows side by side.
        notes: sentences on figures that could not be shown side by side.
    """

    rows: list[RowResult] = field(default_factory=list)
    claims: list[JudgedClaim] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def table_battery(study: TableStudy) -> Battery:
    """The battery of just what the study's columns, bars and charts need."""
    columns = {column.name: column for column in (*study.columns, *study.bars)}
    return battery_of(tuple(columns.values()), study.charts, study.battery, study.images)


def plan_table(
    study: TableStudy, places: Mapping[str, Any], battery: Battery, command: str
) -> list[tuple[str, Request]]:
    """The trainings of a table study, each with the name of its row.

    Args:
        study: the study.
        places: `out` and `data_dir`.
        battery: of the study.
        command: the command that reproduces the study, for the records.
    """
    return [
        (name, Request(row.config.model_copy(update={"seeds": (seed,), **places}), battery, command))
        for name, row in study.rows.items()
        for seed in row.config.seeds
    ]


def read_table(study: TableStudy, battery: Battery, trained: Sequence[EndedTraining]) -> TableResult:
    """The results of a table study whose trainings have ended, and what becomes of its claims.

    Args:
        study: the study.
        battery: of the study.
        trained: its trainings; the label is the name of the row.
    """
    rows = {name: RowResult(name) for name in study.rows}
    for each in trained:
        row = rows[each.label]
        if each.failure:
            row.failures.append(f"{row.name}: {each.failure}")
            continue
        row.paths.append(each.path)
        row.records.append(load_record(each.path))
        row.arrays.append(read_arrays(each.path, row.records[-1]))
    scores: dict[tuple[str, str], SeedScores] = {}
    for row in rows.values():
        paper = study.rows[row.name].paper
        for column in study.columns:
            scores[row.name, column.name] = seed_scores(row, column)
            row.cells[column.name] = make_cell(row, column, paper.get(column.name))
    result = TableResult(list(rows.values()))
    result.claims = [judge_claim(claim, scores) for claim in study.claims]
    result.charts = _row_charts(result.rows, named_metrics(study.charts, battery.metrics))
    return result


def _row_charts(rows: Sequence[RowResult], metrics: Sequence[Metric]) -> list[Chart]:
    """The figures of metrics for every row's first seed."""
    charts = []
    for row in rows:
        for metric in metrics:
            # Without arrays the metric could not be measured, and its column says why.
            if row.records and (arrays := unflatten(row.arrays[0]).get(metric.name)):
                charts += [_of_row(chart, row.name) for chart in metric.charts(arrays, row.records[0])]
    return charts


def named_metrics(names: Sequence[str], metrics: Sequence[Metric]) -> list[Metric]:
    """The metrics that a study names; a metric may be named after its main score, with a slash."""
    return [
        metric
        for name in names
        for metric in metrics
        if metric.name == name or metric.name.startswith(f"{name}/")
    ]


def seed_scores(row: RowResult, column: Column) -> SeedScores:
    """A row's scores in a column, with the outcomes and intervals that judging a claim needs."""
    scores = [record.metrics.get(column.name) for record in row.records]
    present = [
        (score, arrays.get(column.name))
        for score, arrays in zip(scores, row.arrays, strict=True)
        if score is not None and score.value is not None
    ]
    outcomes = [
        array for _, array in present if array is not None and array.ndim == 1 and array.dtype == bool
    ]
    data = row.records[0].dataset if row.records else None
    return SeedScores(
        values=tuple(float(score.value or 0.0) for score, _ in present),
        low=tuple(score.low for score, _ in present),
        high=tuple(score.high for score, _ in present),
        outcomes=tuple(outcomes) if len(outcomes) == len(present) else (),
        images=f"{data.name} {data.evaluated_fingerprint} of {data.test_size}" if data else "",
        unit=100.0 if column.percent else 1.0,
    )


def make_cell(row: RowResult, column: Column, paper: float | None) -> Cell:
    """Summarize a row's scores in a column over its seeds; a missing value keeps its reason."""
    found = [record.metrics.get(column.name) for record in row.records]
    scores = [score for score in found if score is not None and score.value is not None]
    if not scores:
        return Cell(None, reason=_why_missing(row, column), paper=paper)
    values = [float(score.value or 0.0) for score in scores]
    lows = [score.low for score in scores if score.low is not None]
    highs = [score.high for score in scores if score.high is not None]
    whole = len(lows) == len(highs) == len(scores)
    return Cell(
        value=statistics.fmean(values),
        low=statistics.fmean(lows) if whole else None,
        high=statistics.fmean(highs) if whole else None,
        spread=statistics.stdev(values) if len(values) > 1 else None,
        n=scores[0].n,
        unit=scores[0].unit,
        reason=scores[0].reason,
        paper=paper,
    )


def _why_missing(row: RowResult, column: Column) -> str:
    if not row.records:
        return "no training of this row ended"
    metrics = row.records[0].metrics
    for name in (column.name, column.metric):
        if name in metrics and metrics[name].reason:
            return metrics[name].reason
    own = sorted(name for name in metrics if name.startswith(column.metric.split("/")[0]))
    return f"{column.metric} gives no score of this name; it gives {', '.join(own) or 'none'}"


def _of_row(chart: Chart, row: str) -> Chart:
    name = f"{slug(row)}-{short_hash(row)}-{chart.name}"[:80].strip("-")
    return chart.model_copy(update={"name": name, "title": f"{row}: {chart.title}"})
