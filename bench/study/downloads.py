"""The numbers of a study as CSV and JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from bench.charts.numbers import number
from bench.core.files import csv_text
from bench.study.correlation import CorrelationResult, ProbedNetwork
from bench.study.indicators import indicators
from bench.study.measured import Measured
from bench.study.predictors import Predictors
from bench.study.ranks import Estimate
from bench.study.spec import CorrelationStudy, PredictorsStudy, TableStudy
from bench.study.table import TableResult
from bench.version import __version__

_TABLE_COLUMNS = (
    "row",
    "column",
    "unit",
    "ours",
    "low",
    "high",
    "spread",
    "n",
    "paper",
    "paper_unit",
    "reason",
)


def networks_csv(networks: Sequence[ProbedNetwork]) -> str:
    """Every probed network as CSV, one per row; `kept` marks the candidates."""
    return csv_text([field.name for field in fields(ProbedNetwork)], (asdict(each) for each in networks))


def table_csv(study: TableStudy, result: TableResult) -> str:
    """A table as CSV, one cell per row."""
    return csv_text(_TABLE_COLUMNS, _cells(study, result))


def _cells(study: TableStudy, result: TableResult) -> Iterable[dict[str, Any]]:
    for row in result.rows:
        for column in study.columns:
            cell = row.cells[column.name]
            yield {
                "row": row.name,
                "column": column.name,
                "unit": cell.unit,
                "ours": cell.value,
                "low": cell.low,
                "high": cell.high,
                "spread": cell.spread,
                "n": cell.n,
                "paper": cell.paper,
                "paper_unit": "" if cell.paper is None else "%" if column.percent else cell.unit,
                "reason": cell.reason,
            }


def correlation_json(study: CorrelationStudy, result: CorrelationResult, command: str) -> dict[str, Any]:
    """The results of a correlation study as plain JSON."""
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


def table_json(study: TableStudy, result: TableResult, command: str) -> dict[str, Any]:
    """The results of a table study as plain JSON."""
    return {
        "title": study.title,
        "source": study.source,
        "text": study.text,
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
                "claim": judged.claim.text,
                "verdict": judged.verdict,
                "difference": judged.difference,
                "p_value": judged.p_value,
                "test": judged.test,
            }
            for judged in result.claims
        ],
    }


def measured_csv(measured: Measured) -> str:
    """Every network of a predictors study as CSV, one per row, with its indicators and their costs."""
    scores = [each.score for each in indicators()]
    columns = ["network", "group", "data", "family", "broken", "left_out", "worst_case", "images", *scores]
    rows = (
        {
            "network": each.title,
            "group": each.group,
            "data": each.stratum,
            "family": each.family,
            "broken": each.broken,
            "left_out": each.left_out,
            "worst_case": each.robustness,
            "images": len(each.survived),
            **{score: each.scores.get(score) for score in scores},
            **{f"passes of {score}": each.cost.get(score) for score in scores},
        }
        for each in measured.networks
    )
    return csv_text([*columns, *(f"passes of {score}" for score in scores)], rows)


#: The estimates that sites show of each finding, with their titles.
_ESTIMATES = {
    "across": "Kendall’s τ with robustness",
    "given_clean": "given clean accuracy",
    "given_family": "within a family",
    "within_standard": "standard training",
    "error": "error of prediction",
    "against_attack": "less that of PGD-20",
}


def _shown(found: Estimate) -> dict[str, Any]:
    return {name: getattr(found, name) for name in ("value", "low", "high", "n", "reason")}


def _test(found: Estimate) -> str:
    if found.value is None:
        return found.reason
    return f"Kendall’s τ = {number(found.value, 2)} over {found.n} networks, Holm’s correction"


def predictors_json(
    study: PredictorsStudy, measured: Measured, result: Predictors, summary: Sequence[str], command: str
) -> dict[str, Any]:
    """The results of a predictors study as plain JSON, with what the page says in words."""
    return {
        "title": study.title,
        "source": study.source,
        "text": study.text,
        "version": __version__,
        "command": command,
        "networks": len(result.networks),
        "broken": len(result.broken),
        "summary": summary,
        "columns": [{"name": name, "title": title} for name, title in _ESTIMATES.items()],
        "rows": [
            {
                "name": each.indicator.title,
                "cells": {name: _shown(getattr(each, name)) for name in _ESTIMATES},
            }
            for each in result.findings
        ],
        "findings": [asdict(each) for each in result.findings],
        "baselines": [asdict(each) for each in result.baselines],
        "attack_curve": [{"passes": cost, "error": asdict(error)} for cost, error in result.curve],
        "claims": [
            {
                "claim": f"{each.indicator.title}: {each.indicator.sign} correlation with robustness",
                "verdict": each.verdict,
                "p_value": each.across.corrected,
                "test": _test(each.across),
            }
            for each in result.findings
            if each.verdict
        ],
        "records": [record.id for record in measured.records],
        "left_out": {each.title: each.left_out for each in measured.networks if each.left_out},
        "failures": measured.failures,
    }
