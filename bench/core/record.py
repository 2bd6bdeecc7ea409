"""What a result is: one JSON per trained network, the truth that MLflow and the pages are drawn from.

This module needs no torch, so that leaderboards and tracking stay light.
"""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.core.archives import read_npz
from bench.core.errors import UserError
from bench.core.files import read_json, sha256, write_json
from bench.core.limits import (
    MOST_OF_TEXT,
    ROUNDING,
    Count,
    LongName,
    Name,
    Seconds,
    file_beside,
    moment,
    radius_of,
    range_problems,
)
from bench.core.values import shown

SCHEMA_VERSION: Literal["1.0"] = "1.0"

#: The files of a result, side by side in one folder.
RECORD, ARRAYS, WEIGHTS, EXAMPLES = "record.json", "arrays.npz", "weights.safetensors", "examples.npz"
#: The files of a run folder: the run, its search, each trial of the search, each training.
RUN, SEARCH, TRIAL, HISTORY = "run.json", "search.json", "trial.json", "history.jsonl"

Value = bool | int | float | str | None


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Score(_Part):
    """One number of the battery, with its 95 % interval (for a time: the quartiles over epochs).

    `value` is None when the quantity is not defined for this network; `reason` then says why.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = Field(default=None, ge=0, description="how many examples it was measured on")
    unit: str = Field(description='"fraction", "AUC", "seconds", "ratio", "nats", "count"')
    higher_is_better: bool | None = Field(default=None, description="None: neither direction is better")
    reason: str = Field(default="", description="why there is no value, or what to know about it")

    @model_validator(mode="after")
    def _explained(self) -> "Score":
        if self.value is None and not self.reason:
            raise ValueError("a score without a value needs a reason")
        return self


class Alarm(_Part):
    """A sign that a robust accuracy is not to be believed, with the numbers behind it.

    `raised` is None when the battery did not run what the alarm needs.
    """

    name: Name
    raised: bool | None
    message: str
    numbers: dict[str, float | None] = {}


class Point(_Part):
    """One point of a curve: `x`, the value there and its 95 % interval."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None


class Curve(_Part):
    """A named curve, for example robust accuracy against ε (the security curve)."""

    x_label: str
    y_label: str
    n: int | None = Field(default=None, ge=0, description="how many examples are behind each point")
    points: list[Point]


class Search(_Part):
    """How the hyper-parameters were found: on a validation split of the training set, never on test data."""

    trials: Count
    complete: Count
    pruned: Count
    failed: Count
    objective: str
    clean_floor: float = Field(description="validation clean accuracy a setting must reach")
    space: dict[str, str] = Field(description="hyper-parameter → its range")
    default_value: float | None = Field(
        description="objective of the first trial: the defaults, with what was set by hand"
    )
    best_value: float | None
    best_trial: Count
    seconds: Seconds


class Defense(_Part):
    """The defense and every hyper-parameter it ran with."""

    name: Name
    hyperparameters: dict[Name, Value]
    defaults: dict[Name, Value] = Field(default={}, description="the paper's values where it states them")
    search: Search | None = Field(default=None, description="None: nothing was searched")


class Dataset(_Part):
    """The data, identified by a fingerprint of every pixel and label that was used."""

    name: LongName
    fingerprint: str = Field(description="SHA-256 over training, validation and test tensors")
    shape: tuple[Count, Count, Count] = Field(description="channels, height, width")
    classes: list[str]
    train_size: Count
    validation_size: Count
    test_size: Count
    evaluated_size: Count = Field(description="test images the attacks ran on")
    evaluated_fingerprint: str = Field(description="SHA-256 over those images and labels, in order")


#: What readers see for a norm.
NORM_SIGNS = {"linf": "ℓ∞", "l2": "ℓ2"}


class Threat(_Part):
    """Norm and ε, the latter exactly as written ("8/255")."""

    norm: Literal["linf", "l2"]
    eps: str


class Battery(_Part):
    """The metric battery; two results share a board only when name and version agree."""

    name: Name
    version: Name
    settings: dict[str, Any] = Field(default={}, description="attack → its settings")


class Training(_Part):
    """How the network was trained; absent for a checkpoint that was trained elsewhere."""

    recipe: dict[str, Value]
    precision: str
    epochs: Count
    epoch_of_weights: Count = Field(description="the epoch whose weights were evaluated, from 1")
    best_epoch: int | None = Field(
        default=None,
        description="the epoch with the best validation robust accuracy; later ones may have overfitted",
    )


class Cost(_Part):
    """What the result took. Seconds are wall clock on the hardware that `provenance` names."""

    train_seconds: Seconds | None = None
    evaluate_seconds: Seconds
    peak_memory_bytes: Count
    forwards: Count = Field(description="images through the network during evaluation")
    backwards: Count = Field(description="images whose gradient was taken during evaluation")
    seconds_by_metric: dict[Name, Seconds] = {}


class Provenance(_Part):
    """Where the number comes from, and how to get it again."""

    run: Name = Field(
        description="name of the training run, ending in a hash of its settings and data; or external"
    )
    commit: str | None
    dirty: bool | None = Field(default=None, description="the source differed from the commit")
    command: str = Field(description="the command that reproduces this record")
    config: dict[str, Any] = {}
    versions: dict[str, str]
    hardware: dict[str, Value]
    created: str = Field(description="ISO 8601, UTC")


class File(_Part):
    """A file beside the record, with its hash."""

    path: Name
    sha256: str


class Record(_Part):
    """One trained network and everything the battery measured on it."""

    schema_version: Literal["1.0"] = SCHEMA_VERSION
    id: Name
    defense: Defense
    model: Name
    parameters: Count = Field(description="trainable and frozen weights of the network")
    feature_site: Literal["pre-activation", "pooled", "none"] = Field(
        description="where decision regions were read"
    )
    dataset: Dataset
    threat: Threat
    battery: Battery
    seed: int
    training: Training | None = None
    metrics: dict[Name, Score]
    alarms: list[Alarm] = []
    curves: dict[Name, Curve] = {}
    history: list[dict[str, float | int | str | list[float] | None]] = Field(
        default=[], description="one row an epoch"
    )
    cost: Cost
    provenance: Provenance
    files: dict[Name, File] = Field(default={}, description='"weights" (safetensors), "arrays" (npz)')

    def save(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))


def load_record(path: Path, *, check_files: bool = False, check_values: bool = True) -> Record:
    """Admit a record: every reader of records, ours and others', reads them here.

    Args:
        path: the JSON file, or the folder that holds `record.json`.
        check_files: also compare the hashes of the files beside it.
        check_values: refuse what `impossible` finds; without it, who reads the record must look.

    Raises:
        UserError: when it is missing, no regular file, no JSON within the limits of `read_json`, not of this
            schema, or has impossible values; with `check_files`, when a file of it lies outside its folder, is
            missing or differs.
    """
    if path.is_dir():
        path = path / RECORD
    file_beside(path, path.name)
    try:
        record = Record.model_validate(read_json(path, longest=MOST_OF_TEXT))
    except ValidationError as error:
        raise UserError(f"{path} is not a valid record: {describe(error)}") from None
    problems = list(impossible(record)) if check_values else []
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{path}: {'; '.join(problems[:3])}{more}")
    for kind, file in record.files.items() if check_files else ():
        beside = file_beside(path, file.path)
        if not beside.is_file():
            raise UserError(f"{path}: its {kind} file {file.path} is missing")
        if sha256(beside) != file.sha256:
            raise UserError(f"{path}: its {kind} file {file.path} has changed since the record was written")
    return record


def impossible(record: Record) -> Iterator[str]:
    """Values of a record that nothing can have, in words: scores out of their range, ε, the time."""
    try:
        radius_of(record.threat.norm, record.threat.eps)
    except UserError as error:
        yield f"threat.eps: {error}"
    try:
        moment(record.provenance.created)
    except ValueError as error:
        yield f"provenance.created {error}"
    for name, score in record.metrics.items():
        yield from _problems(name, score)
    for name, curve in record.curves.items():
        for point in curve.points:
            low = point.value if point.low is None else point.low
            high = point.value if point.high is None else point.high
            slack = ROUNDING * max(1, abs(point.value))
            if not low - slack <= point.value <= high + slack:
                yield f"curve {name}: the value at {point.x:g} lies outside its interval"
            if name == "security" and not -ROUNDING <= point.value <= 1 + ROUNDING:
                yield f"curve {name}: accuracy must lie in [0, 1], got {point.value:g} at {point.x:g}"


def possible_score(name: str, score: Score) -> Score:
    """The score itself where a record may hold it.

    An interval that does not reach its value, as a bootstrap may give it, is widened to the value. A value out of
    the range of its unit is left out, and the reason says so.
    """
    if not list(_problems(name, score)):
        return score
    if score.value is not None and score.low is not None and score.high is not None:
        ends = {"low": min(score.low, score.value), "high": max(score.high, score.value)}
        score = score.model_copy(update=ends)
    problems = list(_problems(name, score))
    if not problems:
        return score
    empty = {"value": None, "low": None, "high": None}
    return score.model_copy(update={**empty, "reason": f"the metric gave an impossible value: {problems[0]}"})


def _problems(name: str, score: Score) -> Iterator[str]:
    return range_problems(name, score.unit, score.value, score.low, score.high)


def find_records(folder: Path) -> list[Path]:
    """Every `record.json` below a folder, sorted.

    Raises:
        UserError: when the folder does not exist.
    """
    if not folder.exists():
        raise UserError(f"no such folder of records: {folder}")
    return [folder] if folder.is_file() else sorted(folder.rglob(RECORD))


def describe(error: ValidationError) -> str:
    """A pydantic error in one line: where, what was expected, what came."""
    parts = []
    for item in error.errors()[:3]:
        where = ".".join(map(str, item["loc"])) or "value"
        said = item["type"] == "value_error" or isinstance(item["input"], dict | list)
        came = "" if said else f" (got {shown(item['input'])})"
        message = item["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        expected = "expected " if "should be" in item["msg"] else ""
        parts.append(f"{where}: {expected}{message}{came}")
    more = len(error.errors()) - len(parts)
    return "; ".join(parts) + (f"; and {more} more" if more > 0 else "")


def finite(value: float | None) -> float | None:
    """None instead of NaN or infinity, which a record cannot hold."""
    return None if value is None or not math.isfinite(value) else float(value)


def read_arrays(path: Path, record: Record, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The per-example arrays that lie beside a record and that the record vouches for.

    Args:
        path: the record's JSON file.
        record: what it holds; `files["arrays"]` names the archive and its hash.
        names: which arrays to read; None reads all.

    Returns:
        The arrays by name; empty when the record names no archive or it is not there.

    Raises:
        UserError: when the archive lies outside the record's folder, has changed, or cannot be read.
    """
    file = record.files.get("arrays")
    archive = file_beside(path, file.path) if file is not None else None
    if file is None or archive is None or not archive.is_file():
        return {}
    if sha256(archive) != file.sha256:
        raise UserError(f"{path}: its arrays file {file.path} has changed since the record was written")
    return read_npz(archive, names)
