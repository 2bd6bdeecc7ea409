"""Log records to MLflow (`bench track`) and fetch them (leaderboards)."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.record import RECORD, RUN, load_record
from bench.tracking.record_entry import read_record
from bench.tracking.settings import Settings
from bench.tracking.store import Store, open_store
from bench.tracking.sync import find_record, sync_folder


def track_records(paths: Iterable[Path], settings: Settings, say: Callable[[str], None]) -> None:
    """Log records that are not in MLflow yet; a record inside a run folder brings the whole folder.

    Args:
        paths: records, seed folders, run folders, or folders that hold any of these.
        settings: where to log.
        say: told one line for each run folder and each lone record.

    Raises:
        UserError: when a path holds no record, a record is not valid, or the store cannot be reached.
    """
    sources = sorted({source for path in paths for source in _sources(path)})
    with open_store(settings) as store:
        for source in sources:
            if source.is_dir():
                runs = sync_folder(store, source, live=False)
                say(f"{source}: {len(runs)} runs in {settings.experiment} at {settings.shown}")
            else:
                say(
                    f"{source}: run {_track_lone(store, source)} in {settings.experiment} at {settings.shown}"
                )


def fetch_records(settings: Settings, out: Path) -> tuple[list[Path], dict[str, str]]:
    """Copy the records and arrays of all finished results out of MLflow.

    Of results with one record id, the newest counts. What lies in `out` already is not copied again.

    Args:
        settings: where they are.
        out: the folder to fill: `<record id>/record.json` and its arrays.

    Returns:
        the paths of the records, sorted, and record id → MLflow run id.

    Raises:
        UserError: when the store cannot be reached, or what it holds is not what was logged.
    """
    paths: list[Path] = []
    runs: dict[str, Any] = {}
    with open_store(settings, create=False) as store:
        for run in store.find("tags.role = 'final' and attributes.status = 'FINISHED'"):
            tags = run.data.tags
            known = runs.setdefault(tags["bench.record"], run)
            if run.info.end_time > known.info.end_time:
                runs[tags["bench.record"]] = run
        for name, run in runs.items():
            folder = out / re.sub(r"[^\w.\-]", "_", name)
            paths.append(_fetch(store, run.info.run_id, run.data.tags["bench.record_sha256"], folder))
    return sorted(paths), {name: run.info.run_id for name, run in runs.items()}


def _sources(path: Path) -> set[Path]:
    """Run folders to sync and lone records to log."""
    for folder in (path, *path.resolve().parents):
        if (folder / RUN).is_file():
            return {folder.resolve()}
    if path.is_file():
        return {path.resolve()}
    folders = {run.parent.resolve() for run in path.rglob(RUN)}
    records = {record.resolve() for record in path.rglob(RECORD)}
    lone = {record for record in records if not folders & set(record.parents)}
    if not folders | lone:
        raise UserError(f"expected a record, a seed folder or a run folder, found none at {path}")
    return folders | lone


def _track_lone(store: Store, path: Path) -> str:
    entry = read_record(path)
    logged = find_record(store, entry)
    if logged is None or logged.status != "FINISHED":
        logged = store.write(entry, logged, None)
    return logged.run_id


def _fetch(store: Store, run_id: str, expected: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD
    if not path.is_file() or sha256(path) != expected:
        store.download(run_id, path.name, folder)
        if sha256(path) != expected:
            raise UserError(f"{RECORD} of MLflow run {run_id} has changed since it was logged")
    arrays = load_record(path).files.get("arrays")
    if arrays is not None:
        beside = folder / Path(arrays.path).name
        if not beside.is_file() or sha256(beside) != arrays.sha256:
            store.download(run_id, beside.name, folder)
            if sha256(beside) != arrays.sha256:
                raise UserError(f"{beside.name} of MLflow run {run_id} has changed since it was logged")
    return path
