"""The content of one MLflow run, as plain data.

Nothing here knows how MLflow is reached.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from bench.core.files import sha256
from bench.core.record import Value

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class Data:
    """A data set input: what it was used for, and the fingerprint that tells it from others of its name."""

    name: str
    context: Literal["train", "test"]
    fingerprint: str
    profile: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The content of one MLflow run. Times are milliseconds since 1970, UTC.

    `history` holds one row an epoch; `artifacts` maps the name in MLflow to the file, `tables` to its text.
    `weights` is the name of the artifact that holds the trained network.
    """

    part: str
    name: str
    status: Status
    started: int
    ended: int | None
    tags: dict[str, str]
    params: dict[str, Value] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    data: list[Data] = field(default_factory=list)
    artifacts: dict[str, Path] = field(default_factory=dict)
    tables: dict[str, str] = field(default_factory=dict)
    weights: str = ""

    def fingerprint(self) -> str:
        """A hash of everything to log; equal hashes mean that nothing is new."""
        # Weights and arrays are pinned by the hashes inside the record; no need to read them every time.
        small = {name: path for name, path in self.artifacts.items() if path.stat().st_size < 2**20}
        files = {name: sha256(path) for name, path in small.items()} | {"all": sorted(self.artifacts)}
        content = json.dumps({**asdict(self), "artifacts": files}, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()


def training_data(name: str, fingerprint: str, train_size: int, validation_size: int) -> Data:
    """The data set input of a training."""
    sizes = {"train_size": train_size, "validation_size": validation_size}
    return Data(name, "train", fingerprint, sizes)


def source_tags(commit: str | None, command: str) -> dict[str, str]:
    """Tags that name the command and the commit behind an entry."""
    # Without a source of its own, MLflow's list of runs names no origin at all.
    source = {"mlflow.source.name": command or "bench", "mlflow.source.type": "LOCAL"}
    return {**source, **({"commit": commit, "mlflow.source.git.commit": commit} if commit else {})}


def milliseconds(moment: datetime | str) -> int:
    """A moment as milliseconds since 1970, UTC."""
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return round(1000 * moment.timestamp())
