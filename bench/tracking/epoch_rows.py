"""The epochs of a training, read while it goes on, or from a stranger's folder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.core.files import read_bytes
from bench.core.values import LARGEST


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a history as far as they are whole, one for each epoch; empty where there is no file."""
    return list(_rows(path)) if path.is_file() else []


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in read_bytes(path).decode(errors="replace").splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            return  # the epoch that is being written at this moment
        if not _is_row(row):
            return
        yield row


def _is_row(row: Any) -> bool:
    """Whether these are the scores of an epoch, whose numbers a store can hold."""
    if not isinstance(row, dict) or not isinstance(row.get("epoch"), int):
        return False
    seconds = row.get("seconds") or 0
    timed = isinstance(seconds, int | float) and 0 <= seconds <= LARGEST
    return timed and all(abs(value) <= LARGEST for value in row.values() if isinstance(value, int))
