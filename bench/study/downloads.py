"""The numbers of a study as CSV and JSON."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from typing import Any

from bench.core.files import csv_text
from bench.study.correlation import CorrelationResult, ProbedNetwork
from bench.study.spec import CorrelationStudy, TableStudy
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
