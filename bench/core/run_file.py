"""What is left of a damaged `run.json`."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import read_json


def first_started(path: Path) -> str:
    """When a run was first started, from what is left of its `run.json` or from `tracking.json`; else "".

    It marks the run's entries in MLflow, which would be logged twice with another time.
    """
    found = None
    with suppress(OSError):
        found = re.search(rb'"run": "([^"]*)".*"created": "([0-9T:+-]{25})"', path.read_bytes(), re.DOTALL)
    if found and found[1].decode(errors="replace") == path.parent.name:
        return found[2].decode()
    with suppress(UserError, AttributeError, KeyError, TypeError, ValueError, OverflowError):
        for parts in read_json(path.with_name("tracking.json")).values():
            moment = datetime.fromtimestamp(parts["search"]["started"] / 1000, UTC)
            return moment.isoformat(timespec="seconds")
    return ""
