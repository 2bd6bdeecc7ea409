"""The history of a training: one row for each epoch."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import read_bytes, write_text
from bench.core.record import HISTORY

HistoryRow = dict[str, Any]


def read_history(folder: Path) -> list[HistoryRow]:
    """Read the rows written so far; empty where there are none.

    Raises:
        UserError: when the file is damaged.
    """
    path = folder / HISTORY
    if not path.exists():
        return []
    try:
        rows = [json.loads(line) for line in read_bytes(path).decode().splitlines()]
        whole = [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
        finite = all(math.isfinite(row["seconds"] or 0) for row in rows)
    except (ValueError, TypeError, KeyError, RecursionError):
        whole = finite = False
    if not whole or not finite:
        raise UserError(f"{path} is damaged")
    return rows


def write_history(folder: Path, rows: Sequence[HistoryRow]) -> None:
    """Write all rows, one a line."""
    write_text(folder / HISTORY, "".join(json.dumps(row) + "\n" for row in rows))


def clean_accuracy(row: HistoryRow) -> float:
    """Validation clean accuracy of an epoch; 0 without a validation split."""
    return float(row["validation_accuracy"] or 0.0)


def robust_accuracy(row: HistoryRow) -> float:
    """Validation robust accuracy of an epoch; 0 without a validation split."""
    return float(row["validation_robust_accuracy"] or 0.0)
