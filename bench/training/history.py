"""The history of a training: one row for each epoch."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.core.files import write_text
from bench.core.record import HISTORY

HistoryRow = dict[str, Any]


def read_history(folder: Path) -> list[HistoryRow]:
    """Read the rows written so far; empty where there are none."""
    path = folder / HISTORY
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def write_history(folder: Path, rows: Sequence[HistoryRow]) -> None:
    """Write all rows, one a line."""
    write_text(folder / HISTORY, "".join(json.dumps(row) + "\n" for row in rows))


def clean_accuracy(row: HistoryRow) -> float:
    """Validation clean accuracy of an epoch; 0 without a validation split."""
    return float(row["validation_accuracy"] or 0.0)


def robust_accuracy(row: HistoryRow) -> float:
    """Validation robust accuracy of an epoch; 0 without a validation split."""
    return float(row["validation_robust_accuracy"] or 0.0)
