"""What a result is: one JSON per trained network, the truth that MLflow and the pages are drawn from.

This module needs no torch, so that leaderboards and tracking stay light.
"""

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from bench.core.archives import read_npz
from bench.core.errors import UserError
from bench.core.files import parse_json, read_bytes, sha256, write_json
from bench.core.limits import (
    MOST_OF_TEXT,
    ROUNDING,
    Count,
    Name,
    file_beside,
    moment,
    radius_of,
    range_problems,
)
from bench.core.record_parts import (
    NORM_SIGNS,
    Alarm,
    Battery,
    Cost,
    Curve,
    Dataset,
    Defense,
    File,
    Front,
    FrontPoint,
    Part,
    Point,
    Provenance,
    Score,
    Search,
    Source,
    Threat,
    Training,
    Value,
    threat_title,
)
from bench.core.values import shown

if TYPE_CHECKING:
    import pandas

__all__ = [
    "ARRAYS",
    "EXAMPLES",
    "HISTORY",
    "NORM_SIGNS",
    "RECORD",
    "RUN",
    "SCHEMA_VERSION",
    "SEARCH",
    "TRIAL",
    "WEIGHTS",
    "Alarm",
    "Battery",
    "Cost",
    "Curve",
    "Dataset",
    "Defense",
    "File",
    "Front",
    "FrontPoint",
    "Point",
    "Provenance",
    "Record",
    "Score",
    "Search",
    "Source",
    "Threat",
    "Training",
    "Value",
    "describe",
    "find_records",
    "finite",
    "impossible",
    "load_record",
    "parse_record",
    "possible_score",
    "read_arrays",
    "threat_title",
]

SCHEMA_VERSION: Literal["1.0"] = "1.0"

#: The files of a result, side by side in one folder.
RECORD, ARRAYS, WEIGHTS, EXAMPLES = "record.json", "arrays.npz", "weights.safetensors", "examples.npz"
#: The files of a run folder: the run, its search, each trial of the search, each training.
RUN, SEARCH, TRIAL, HISTORY = "run.json", "search.json", "trial.json", "history.jsonl"


class Record(Part):
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
    alarms: list[Alarm] = Field(default=[])
    curves: dict[Name, Curve] = Field(default={})
    history: list[dict[str, float | int | str | list[float] | None]] = Field(
        default=[], description="one row an epoch"
    )
    cost: Cost
    provenance: Provenance
    files: dict[Name, File] = Field(default={}, description='"weights" (safetensors), "arrays" (npz)')

    def save(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(path, self.model_dump(mode="json"))

    def to_frame(self) -> "pandas.DataFrame":
        """The record as one row, in columns grouped as those of `mlflow.search_runs`; see `Records.to_frame`."""
        return _view("record_columns:frame")([self])

    def show(self) -> None:
        """Print scores with intervals, alarms, settings and cost, as `bench show` does."""
        _view("record_text:show_record")(self)

    def _repr_html_(self) -> str:
        return _view("record_html:html")(self)


def _view(place: str) -> Callable[..., Any]:
    """A function of `bench.core` that shows records; imported when it is used, for it needs this module."""
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(f"bench.core.{module}"), name)
    return found


def load_record(
    path: Path, *, check_files: bool = False, elsewhere: Collection[str] = (), check_values: bool = True
) -> Record:
    """Admit a record: every reader of records, ours and others', reads them here.

    Args:
        path: the JSON file, or the folder that holds `record.json`.
        check_files: also compare the hashes of the files beside it.
        elsewhere: kinds of files that need not be there for that, such as "weights", or "source" for each of them.
        check_values: refuse what `impossible` finds; without it, who reads the record must look.

    Raises:
        UserError: when it is missing, no regular file, no JSON within the limits of `read_json`, not of this
            schema, or has impossible values; with `check_files`, when a file of it lies outside its folder, is
            missing or differs.
    """
    if path.is_dir():
        path = path / RECORD
    if path.name == RECORD and path.parent.is_dir() and not os.path.lexists(path):
        raise UserError(f"expected a {RECORD} in {path.parent}, found none{_first_below(path.parent)}")
    file_beside(path, path.name)
    record = parse_record(path, read_bytes(path), check_values=check_values)
    for kind, file in record.files.items() if check_files else ():
        beside = file_beside(path, file.path)
        if kind.partition("/")[0] in elsewhere and not beside.is_file():
            continue
        if not beside.is_file():
            raise UserError(f"{path}: its {kind} file {file.path} is missing")
        if sha256(beside) != file.sha256:
            raise UserError(f"{path}: its {kind} file {file.path} has changed since the record was written")
    return record


def _first_below(folder: Path) -> str:
    """Where the records of a run's folder are, for whoever gives it in the place of one."""
    below = find_records(folder)
    return f"; the first of {len(below)} below it lies in {below[0].parent}" if below else ""


def parse_record(path: Path, content: bytes, *, check_values: bool = True) -> Record:
    """Admit the content of a record's file; see `load_record`.

    Args:
        path: the file, for messages.
    """
    parse_json(path, content, longest=MOST_OF_TEXT)
    try:
        # From bytes, pydantic keeps each short text once.
        record = Record.model_validate_json(content)
    except ValidationError as error:
        raise UserError(f"{path} is not a valid record: {describe(error)}") from None
    problems = list(impossible(record)) if check_values else []
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{path}: {'; '.join(problems[:3])}{more}")
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
        score = replace(score, low=min(score.low, score.value), high=max(score.high, score.value))
    problems = list(_problems(name, score))
    if not problems:
        return score
    reason = f"the metric gave an impossible value: {problems[0]}"
    return replace(score, value=None, low=None, high=None, reason=reason)


def _problems(name: str, score: Score) -> Iterator[str]:
    return range_problems(name, score.unit, score.value, score.low, score.high)


def find_records(folder: Path) -> list[Path]:
    """Every `record.json` below a folder, sorted; also one that cannot be read, such as a link that leads nowhere.

    Raises:
        UserError: when the folder does not exist.
    """
    if not folder.exists():
        raise UserError(f"no such folder of records: {folder}")
    if folder.is_file():
        return [folder]
    found = []
    for place, folders, names in os.walk(folder):
        if RECORD in names or RECORD in folders:
            found.append(Path(place) / RECORD)
        # Neither the trials of a search nor figures hold records, and there may be many thousands of them.
        without = "trials" if RUN in names else "figures" if RECORD in names else ""
        folders[:] = [name for name in folders if name != without]
    return sorted(found)


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


def read_arrays(
    path: Path, record: Record, names: Iterable[str] | Callable[[str], bool] | None = None
) -> dict[str, np.ndarray]:
    """The per-example arrays that lie beside a record and that the record vouches for.

    Args:
        path: the record's JSON file.
        record: what it holds; `files["arrays"]` names the archive and its hash.
        names: which arrays to read, or what tells them; None reads all.

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
