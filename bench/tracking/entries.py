"""What a run folder looks like in MLflow: one entry for the search, each trial, each training, each record.

Plain data from plain files: nothing here knows how MLflow is reached.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import UserError
from bench.core.files import read_json, sha256
from bench.core.record import (
    HISTORY,
    RECORD,
    RUN,
    SEARCH,
    TRIAL,
    Dataset,
    Record,
    Search,
    Value,
    describe,
    load_record,
)

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]
STATUS: dict[str, Status] = {
    "RUNNING": "RUNNING",
    "COMPLETE": "FINISHED",
    "PRUNED": "FINISHED",
    "FAIL": "FAILED",
}
SEARCH_SCORES = {
    "trials",
    "complete",
    "pruned",
    "failed",
    "best_trial",
    "best_value",
    "default_value",
    "seconds",
}


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

    `history` holds one row an epoch; `artifacts` maps the name in MLflow to the file.
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

    def fingerprint(self) -> str:
        """A hash of everything to log; equal hashes mean that nothing is new."""
        # Weights and arrays are pinned by the hashes inside the record; no need to read them every time.
        small = {name: path for name, path in self.artifacts.items() if path.stat().st_size < 2**20}
        files = {name: sha256(path) for name, path in small.items()} | {"all": sorted(self.artifacts)}
        content = json.dumps({**asdict(self), "artifacts": files}, sort_keys=True, default=str)
        return hashlib.sha256(content.encode()).hexdigest()


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Dataset(_File):
    name: str
    fingerprint: str
    train_size: int
    validation_size: int


class _Run(_File):
    run: str
    defense: str
    model: str
    dataset: _Dataset
    threat: str
    commit: str | None = None
    command: str = ""
    created: datetime


class _Trial(_File):
    number: int
    state: Literal["RUNNING", "COMPLETE", "PRUNED", "FAIL"]
    hyperparameters: dict[str, Value]
    value: float | None = None
    clean_accuracy: float | None = None
    message: str | None = None
    started: datetime
    ended: datetime | None = None


def folder_identity(folder: Path) -> str:
    """A hash that marks the entries of one run folder, wherever it is moved.

    Weights that were trained elsewhere have no `run.json`: their folder is known by its name.

    Raises:
        UserError: when its `run.json` is not valid.
    """
    words = folder.resolve().name
    if (folder / RUN).is_file():
        run = _load(_Run, folder / RUN)
        words = f"{run.run} {run.created.isoformat()}"
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def record_part(path: Path, folder: Path) -> str:
    """The part a record is in its run folder; measured again, it is another part and another MLflow run."""
    return f"{path.parent.relative_to(folder).as_posix()}@{sha256(path)[:8]}"


def read_run_folder(folder: Path, *, live: bool) -> list[Entry]:
    """Every entry of a run folder, the search first: it is the parent of the others.

    The folder of weights that were trained elsewhere has records alone.

    Args:
        folder: `runs/<run>/`.
        live: somebody is working on it. If not, what has not ended there was killed.

    Raises:
        UserError: when a file of the folder is broken.
    """
    identity = {"bench.folder": folder_identity(folder)}
    finals = [_final(path, folder, identity) for path in sorted(folder.glob(f"seed-*/*/{RECORD}"))]
    return finals if not (folder / RUN).is_file() else [*_work(folder, identity, finals, live), *finals]


def _work(folder: Path, identity: dict[str, str], finals: list[Entry], live: bool) -> list[Entry]:
    run = _load(_Run, folder / RUN)
    common = {
        **identity,
        "bench.run": run.run,
        "defense": run.defense,
        "model": run.model,
        "dataset": run.dataset.name,
        "dataset_fingerprint": run.dataset.fingerprint,
        "threat": run.threat,
        **_source(run.commit, run.command),
    }
    data = [_training_data(run.dataset)]
    parts = [
        *(_trial(path, common, data, live) for path in sorted(folder.glob(f"trials/*/{TRIAL}"))),
        *(_training(path, common, data, live) for path in sorted(folder.glob(f"seed-*/{HISTORY}"))),
    ]
    entries = [_search(folder, run, common, data, [*parts, *finals], live), *parts]
    return [replace(entry, tags={**entry.tags, "bench.part": entry.part}) for entry in entries]


def read_record(path: Path) -> Entry:
    """The entry of one record, with the files that lie beside it.

    Raises:
        UserError: when it is not a valid record.
    """
    record = load_record(path)
    return Entry(
        part=f"record {record.id}",
        name=f"{record.defense.name} seed {record.seed}: {record.model} {record.dataset.name} "
        f"{record.threat.norm}:{record.threat.eps} {record.battery.name}",
        status="FINISHED",
        started=_milliseconds(record.provenance.created)
        - round(1000 * ((record.cost.train_seconds or 0) + record.cost.evaluate_seconds)),
        ended=_milliseconds(record.provenance.created),
        tags=_record_tags(record, path),
        params=_record_params(record),
        scores=_record_scores(record),
        history=record.history,
        data=_record_data(record),
        artifacts=_record_files(record, path),
    )


def _search(
    folder: Path, run: _Run, common: dict[str, str], data: list[Data], parts: list[Entry], live: bool
) -> Entry:
    summary = folder / SEARCH
    search = _load(Search, summary) if summary.is_file() else None
    measured = {part.part.partition("/")[0] for part in parts if part.tags["role"] == "final"}
    trained = {part.part for part in parts if part.tags["role"] == "training"}
    killed = any(part.status == "KILLED" for part in parts)
    ended = not killed and trained <= measured and bool(search or measured)
    scores = search.model_dump(include=SEARCH_SCORES) if search else {}
    return Entry(
        part="search",
        name=run.run,
        status="RUNNING" if live else "FINISHED" if ended else "KILLED",
        started=_milliseconds(run.created),
        ended=None if live else max([_changed(folder / RUN), *(part.ended or 0 for part in parts)]),
        tags={**common, "role": "search", **({"objective": search.objective} if search else {})},
        params={
            "defense": run.defense,
            "model": run.model,
            "dataset": run.dataset.name,
            "threat": run.threat,
            **({f"space/{name}": text for name, text in search.space.items()} if search else {}),
        },
        scores={name: value for name, value in scores.items() if value is not None},
        data=data,
        artifacts={name: folder / name for name in (RUN, SEARCH) if (folder / name).is_file()},
    )


def _trial(path: Path, common: dict[str, str], data: list[Data], live: bool) -> Entry:
    trial = _load(_Trial, path)
    history = _history(path.with_name(HISTORY))
    killed = trial.state == "RUNNING" and not live
    scores = {"value": trial.value, "clean_accuracy": trial.clean_accuracy}
    return Entry(
        part=f"trials/{path.parent.name}",
        name=f"trial {path.parent.name}",
        status="KILLED" if killed else STATUS[trial.state],
        started=_milliseconds(trial.started),
        ended=_milliseconds(trial.ended) if trial.ended else _changed(path) if killed else None,
        tags={
            **common,
            "role": "trial",
            "trial": str(trial.number),
            "trial_state": trial.state,
            **({"message": trial.message} if trial.message else {}),
        },
        params=dict(trial.hyperparameters),
        scores={name: value for name, value in scores.items() if value is not None},
        history=history,
        data=data,
    )


def _training(path: Path, common: dict[str, str], data: list[Data], live: bool) -> Entry:
    folder = path.parent
    history = _history(path)
    evaluated = any(child.is_dir() for child in folder.iterdir())
    seconds = sum(row.get("seconds") or 0 for row in history)
    return Entry(
        part=folder.name,
        name=f"{folder.name} training",
        status="FINISHED" if evaluated else "RUNNING" if live else "KILLED",
        started=_changed(path) - round(1000 * seconds),
        ended=None if live and not evaluated else _changed(path),
        tags={**common, "role": "training", "seed": folder.name.removeprefix("seed-")},
        history=history,
        data=data,
    )


def _final(path: Path, folder: Path, identity: dict[str, str]) -> Entry:
    entry, part = read_record(path), record_part(path, folder)
    return replace(entry, part=part, tags={**entry.tags, **identity, "bench.part": part})


def _record_tags(record: Record, path: Path) -> dict[str, str]:
    raised = [alarm.name for alarm in record.alarms if alarm.raised]
    unknown = [alarm.name for alarm in record.alarms if alarm.raised is None]
    undefined = [name for name, score in record.metrics.items() if score.value is None]
    lists = {"alarms_not_checked": unknown, "undefined_scores": undefined}
    warnings = [f"- **{alarm.name}**: {alarm.message}" for alarm in record.alarms if alarm.raised]
    return {
        "role": "final",
        "bench.run": record.provenance.run,
        "bench.record": record.id,
        "bench.record_sha256": sha256(path),
        "schema_version": record.schema_version,
        "defense": record.defense.name,
        "model": record.model,
        "feature_site": record.feature_site,
        "dataset": record.dataset.name,
        "dataset_fingerprint": record.dataset.fingerprint,
        "evaluated_fingerprint": record.dataset.evaluated_fingerprint,
        "threat": f"{record.threat.norm}:{record.threat.eps}",
        "battery": record.battery.name,
        "battery_version": record.battery.version,
        "seed": str(record.seed),
        "hardware": ", ".join(f"{name}: {value}" for name, value in record.provenance.hardware.items()),
        "alarms": ", ".join(raised) or "none",
        **{name: ", ".join(names) for name, names in lists.items() if names},
        **({"dirty": str(record.provenance.dirty)} if record.provenance.dirty is not None else {}),
        **_source(record.provenance.commit, record.provenance.command),
        "mlflow.note.content": "\n".join(["```", record.provenance.command, "```", *warnings]),
    }


def _record_params(record: Record) -> dict[str, Value]:
    ours: dict[str, Value] = {
        "defense": record.defense.name,
        "model": record.model,
        "dataset": record.dataset.name,
        "threat": f"{record.threat.norm}:{record.threat.eps}",
        "battery": f"{record.battery.name} {record.battery.version}",
        "seed": record.seed,
        "evaluated_size": record.dataset.evaluated_size,
        "parameters": record.parameters,
    }
    if record.training:
        ours |= {
            "epochs": record.training.epochs,
            "epoch_of_weights": record.training.epoch_of_weights,
            "precision": record.training.precision,
            **{f"recipe/{name}": value for name, value in record.training.recipe.items()},
        }
    theirs = record.defense.hyperparameters.items()
    return {**ours, **{f"defense/{name}" if name in ours else name: value for name, value in theirs}}


def _record_scores(record: Record) -> dict[str, float]:
    values: dict[str, float | None] = {}
    for name, score in record.metrics.items():
        values |= {name: score.value, f"{name}.low": score.low, f"{name}.high": score.high}
    cost = record.cost.model_dump(exclude={"seconds_by_metric"})
    values |= {f"cost/{name}": value for name, value in cost.items()}
    return {name: float(value) for name, value in values.items() if value is not None}


def _record_data(record: Record) -> list[Data]:
    data = record.dataset
    profile = {"evaluated_size": data.evaluated_size, "test_size": data.test_size}
    return [_training_data(data), Data(data.name, "test", data.evaluated_fingerprint, profile)]


def _record_files(record: Record, path: Path) -> dict[str, Path]:
    # Only the name counts: a record from elsewhere must not make us publish files of other folders.
    names = [*(Path(file.path).name for file in record.files.values())]
    drawn = [*path.parent.glob("figures/*.png"), *path.parent.glob("figures/*.json")]
    names += [f"figures/{figure.name}" for figure in sorted(drawn) if not figure.is_symlink()]
    files = {name: path.parent / name for name in names if (path.parent / name).is_file()}
    return {RECORD: path, **files}


def _training_data(dataset: _Dataset | Dataset) -> Data:
    sizes = {"train_size": dataset.train_size, "validation_size": dataset.validation_size}
    return Data(dataset.name, "train", dataset.fingerprint, sizes)


def _source(commit: str | None, command: str) -> dict[str, str]:
    # Without a source of its own, MLflow's list of runs names no origin at all.
    source = {"mlflow.source.name": command or "bench", "mlflow.source.type": "LOCAL"}
    return {**source, **({"commit": commit, "mlflow.source.git.commit": commit} if commit else {})}


def _history(path: Path) -> list[dict[str, Any]]:
    return list(_rows(path)) if path.is_file() else []


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            return  # the epoch that is being written at this moment


def _milliseconds(moment: datetime | str) -> int:
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return round(1000 * moment.timestamp())


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000


Model = TypeVar("Model", bound=BaseModel)


def _load(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: {describe(error)}") from None
