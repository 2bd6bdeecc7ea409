"""The entries of a run folder in MLflow: one for the search, each trial, each training, each record."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.core.errors import UserError
from bench.core.files import read_json, sha256
from bench.core.names import HYPERVOLUME
from bench.core.record import (
    HISTORY,
    RECORD,
    RUN,
    SEARCH,
    TRIAL,
    Record,
    Search,
    Value,
    describe,
    load_record,
)
from bench.core.run_file import first_started
from bench.tracking.entry import Data, Entry, Status, milliseconds, source_tags, training_data
from bench.tracking.epoch_rows import read_rows
from bench.tracking.record_entry import read_record

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
        UserError: when its `run.json` is not valid, and no record tells what it held.
    """
    words = folder.resolve().name
    if (folder / RUN).is_file():
        run = _read_run(folder)
        words = f"{run.run} {run.created.isoformat()}"
    return hashlib.sha256(words.encode()).hexdigest()[:32]


def _read_run(folder: Path, say: Callable[[str], None] = lambda line: None) -> _Run:
    """What `run.json` holds; where it is damaged, what a record of the folder tells of it."""
    try:
        return _load(_Run, folder / RUN)
    except UserError as error:
        for path in sorted(folder.glob(f"seed-*/*/{RECORD}")):
            with suppress(UserError, ValidationError):
                run = _run_behind(load_record(path), folder)
                say(f"{error}; taken from {path} instead, until the same `bench run` writes it again")
                return run
        raise UserError(f"{error}; the same `bench run` writes it again") from None


def _run_behind(record: Record, folder: Path) -> _Run:
    data, source = record.dataset, record.provenance
    return _Run(
        run=source.run,
        defense=record.defense.name,
        model=record.model,
        dataset=_Dataset(
            name=data.name,
            fingerprint=data.fingerprint,
            train_size=data.train_size,
            validation_size=data.validation_size,
        ),
        threat=f"{record.threat.norm}:{record.threat.eps}",
        commit=source.commit,
        command=source.command,
        created=datetime.fromisoformat(first_started(folder / RUN) or source.created),
    )


def record_part(path: Path, folder: Path) -> str:
    """The part a record is in its run folder; measured again, it is another part and another MLflow run."""
    return f"{path.parent.relative_to(folder).as_posix()}@{sha256(path)[:8]}"


def read_run_folder(
    folder: Path,
    *,
    live: bool,
    left_out: list[str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Entry]:
    """Every entry of a run folder, the search first: it is the parent of the others.

    The folder of weights that were trained elsewhere has records alone.

    Args:
        folder: `runs/<run>/`.
        live: somebody is working on it. If not, what has not ended there was killed.
        left_out: gets a line for each damaged file, whose entry is left out; None raises for the first one.
        say: told when a damaged `run.json` was made up for.

    Raises:
        UserError: when `run.json` is damaged and no record tells what it held; without `left_out`, when any other
            file is.
    """
    identity = {"bench.folder": folder_identity(folder)}

    def read(one: Callable[[Path], Entry], pattern: str) -> Iterator[Entry]:
        for path in sorted(folder.glob(pattern)):
            try:
                yield one(path)
            except UserError as error:
                if left_out is None:
                    raise
                left_out.append(str(error))

    finals = list(read(lambda path: _final(path, folder, identity), f"seed-*/*/{RECORD}"))
    if not (folder / RUN).is_file():
        return finals
    run = _read_run(folder, say)
    common = {
        **identity,
        "bench.run": run.run,
        "defense": run.defense,
        "model": run.model,
        "dataset": run.dataset.name,
        "dataset_fingerprint": run.dataset.fingerprint,
        "threat": run.threat,
        **source_tags(run.commit, run.command),
    }
    data = [training_data(**run.dataset.model_dump())]
    parts = [
        *read(lambda path: _trial(path, common, data, live), f"trials/*/{TRIAL}"),
        *read(lambda path: _training(path, common, data, live), f"seed-*/{HISTORY}"),
    ]
    searches = list(read(lambda path: _search(folder, run, common, data, [*parts, *finals], live), RUN))
    entries = [replace(entry, tags={**entry.tags, "bench.part": entry.part}) for entry in [*searches, *parts]]
    return [*entries, *finals]


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
    if search and search.front:
        scores[HYPERVOLUME] = search.front.hypervolume.value
    return Entry(
        part="search",
        name=run.run,
        status="RUNNING" if live else "FINISHED" if ended else "KILLED",
        started=milliseconds(run.created),
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
    history = read_rows(path.with_name(HISTORY))
    killed = trial.state == "RUNNING" and not live
    scores = {"value": trial.value, "clean_accuracy": trial.clean_accuracy}
    return Entry(
        part=f"trials/{path.parent.name}",
        name=f"trial {path.parent.name}",
        status="KILLED" if killed else STATUS[trial.state],
        started=milliseconds(trial.started),
        ended=milliseconds(trial.ended) if trial.ended else _changed(path) if killed else None,
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
        artifacts=_table(path.with_name(HISTORY), trial.state != "RUNNING"),
    )


def _training(path: Path, common: dict[str, str], data: list[Data], live: bool) -> Entry:
    folder = path.parent
    history = read_rows(path)
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
        artifacts=_table(path, evaluated),
    )


def _table(history: Path, ended: bool) -> dict[str, Path]:
    """The rows of all epochs as a file, once no more are added."""
    return {HISTORY: history} if ended and history.is_file() else {}


def _final(path: Path, folder: Path, identity: dict[str, str]) -> Entry:
    entry, part = read_record(path), record_part(path, folder)
    return replace(entry, part=part, tags={**entry.tags, **identity, "bench.part": part})


def _changed(path: Path) -> int:
    return path.stat().st_mtime_ns // 1_000_000


Model = TypeVar("Model", bound=BaseModel)


def _load(model: type[Model], path: Path) -> Model:
    try:
        return model.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path}: {describe(error)}") from None
