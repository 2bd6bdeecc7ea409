"""Log records to MLflow (`bench track`) and fetch them (leaderboards)."""

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import UserError
from bench.core.files import cache_folder, read_json, sha256, write_json
from bench.core.names import short_hash, slug
from bench.core.record import RECORD, RUN, load_record
from bench.tracking.calls import CONNECTIONS, first_line, time_limits
from bench.tracking.entry import Entry
from bench.tracking.record_entry import FIGURES, FILES, outside_files, read_record
from bench.tracking.settings import Settings
from bench.tracking.store import Files, Store, open_store
from bench.tracking.sync import find_record, sync_folder

if TYPE_CHECKING:
    from mlflow.entities import Run

#: In the folder of a record that was copied with all of its files: of which run, and which version.
_COMPLETE = ".complete"
#: Records that are copied from a server at once. An answer takes 40 ms however fast it is: the end of a small
#: file waits until the client's system confirms its beginning.
_AT_ONCE = CONNECTIONS


def track_records(paths: Iterable[Path], settings: Settings, say: Callable[[str], None]) -> None:
    """Log records that are not in MLflow yet; a record inside a run folder brings the whole folder.

    Args:
        paths: records, seed folders, run folders, or folders that hold any of these.
        settings: where to log.
        say: told one line for each run folder, each lone record, and each file that is not uploaded.

    Raises:
        UserError: when a path holds no record or the store cannot be reached; when a record is not admitted, after
            all others were logged.
    """
    sources = sorted({source for path in paths for source in _sources(path)})
    refused = {source: error for source in sources if (error := _check(source, say)) is not None}
    sources = [source for source in sources if source not in refused]
    if refused and not sources:
        raise next(iter(refused.values()))
    lone: list[Entry] = []
    with open_store(settings) as store:
        for source in sources:
            if source.is_dir():
                try:
                    runs = sync_folder(store, source, live=False, say=say)
                except UserError as error:  # of a file in it; the rest of it is logged
                    refused[source] = error
                    continue
                say(f"{source}: {len(runs)} runs in {settings.experiment} at {settings.shown}")
            else:
                lone.append(read_record(source))
                say(
                    f"{source}: run {_track_lone(store, lone[-1])} in {settings.experiment} at {settings.shown}"
                )
        store.show(lone)
    if refused:
        why = "; ".join(map(str, refused.values()))
        raise UserError(f"{len(refused)} of {len({*refused, *sources})} were not logged: {why}")


def _check(source: Path, say: Callable[[str], None]) -> UserError | None:
    """Why a lone record is not admitted, else None; says which files lie outside the folder of their record.

    Of a run folder, `sync_folder` leaves out the records that are not admitted, and logs the rest.
    """
    for path in [source] if not source.is_dir() else sorted(source.glob(f"seed-*/*/{RECORD}")):
        try:
            record = load_record(path)
        except UserError as error:
            if path == source:
                return error
            continue
        for name in outside_files(record, path):
            say(f"{path}: {name} leads out of its folder and is not uploaded")
    return None


@dataclass(frozen=True)
class Fetched:
    """What was copied out of MLflow.

    Attributes:
        paths: of the records, sorted.
        links: record id → MLflow run: its page on a server, else its id.
        left_out: where a record would be → why it is not there.
    """

    paths: list[Path]
    links: dict[str, str]
    left_out: dict[Path, str]


def kept_copy(settings: Settings) -> Path | None:
    """Where the user's cache keeps what was copied from a server; None for a database of this machine."""
    if not settings.server:
        return None
    name = short_hash([settings.shown, settings.experiment])
    return cache_folder() / "mlflow" / f"{slug(settings.experiment)}-{name}"


def fetch_records(settings: Settings, out: Path) -> Fetched:
    """Copy the records, arrays and figures of all finished results out of MLflow.

    Of results with one record id, the newest counts. What lies in `out` already is not copied again.

    Args:
        settings: where they are.
        out: the folder to fill: a folder for each record, with `record.json`, its arrays and `figures`.

    Raises:
        UserError: when the store cannot be reached.
    """
    copies: dict[str, _Copy] = {}
    with ExitStack() as stack:
        store = stack.enter_context(open_store(settings, create=False))
        stack.enter_context(time_limits(settings.upload_timeout))  # once, for all threads
        threads = ThreadPoolExecutor(_AT_ONCE if settings.server else 1)
        stack.callback(threads.shutdown, cancel_futures=True)
        for run in store.each("tags.role = 'final' and attributes.status = 'FINISHED'"):
            name = run.data.tags.get("bench.record")
            if name is None or "bench.record_sha256" not in run.data.tags:
                continue  # somebody else's run
            if name in copies:
                if run.info.end_time <= copies[name].ended:
                    continue
                wait([copies[name].path])  # it goes to the same folder
            link = settings.run_page(run.info.run_id, str(run.info.experiment_id))
            copies[name] = _Copy(
                run.info.end_time, link, threads.submit(_fetch, store, run, _folder(out, name))
            )
        fetched = Fetched([], {name: copy.link for name, copy in copies.items()}, {})
        for name, copy in copies.items():
            try:
                fetched.paths.append(copy.path.result())
            except UserError as error:
                fetched.left_out[_folder(out, name) / RECORD] = str(error)
    fetched.paths.sort()
    return fetched


@dataclass(frozen=True)
class _Copy:
    """A record that is being copied: when its run ended, where the run is, and where the record will be."""

    ended: int
    link: str
    path: "Future[Path]"


def _folder(out: Path, name: str) -> Path:
    return out / f"{slug(name)}-{short_hash(name)}"


def _sources(path: Path) -> set[Path]:
    """Run folders to sync and lone records to log."""
    path = _place(path)
    for folder in (path, *path.parents):
        if (folder / RUN).is_file():
            return {folder}
    if path.is_file():
        return {path}
    folders = {run.parent for run in path.rglob(RUN)}
    records = set(path.rglob(RECORD))
    lone = {record for record in records if not folders & set(record.parents)}
    if not folders | lone:
        raise UserError(f"expected a record, a seed folder or a run folder, found none at {path}")
    return folders | lone


def _place(path: Path) -> Path:
    """An absolute path whose last part may be a link: what a record links to is not the record."""
    path = Path(os.path.abspath(path))
    return Path(os.path.realpath(path)) if path.is_dir() else Path(os.path.realpath(path.parent)) / path.name


def _track_lone(store: Store, entry: Entry) -> str:
    logged = find_record(store, entry)
    if logged is None or logged.status != "FINISHED":
        logged = store.write(entry, logged, None)
    return logged.run_id


def _fetch(store: Store, run: "Run", folder: Path) -> Path:
    """Copy a record, its arrays and figures, unless that was done before: a finished run changes no more."""
    folder.mkdir(parents=True, exist_ok=True)
    path, complete = folder / RECORD, folder / _COMPLETE
    with suppress(UserError, TypeError, AttributeError, KeyError):
        known = read_json(complete)
        if known["run"] == run.info.run_id and all(
            sha256(folder / name) == held for name, held in known["files"].items()
        ):
            return path
    files = [path, *_fetch_files(store, run, path)]
    held = {file.name: sha256(file) for file in files}
    write_json(complete, {"run": run.info.run_id, "files": held}, compact=True)
    return path


def _fetch_files(store: Store, run: "Run", path: Path) -> list[Path]:
    """Copy the files of a run; gives the arrays where it has them.

    A server is asked once for each file: with thousands of runs that takes the time.
    """
    files = store.files(run)
    _copy(store, run, files, RECORD, path, run.data.tags["bench.record_sha256"])
    try:
        arrays = load_record(path).files.get("arrays")
    except UserError:
        return []  # a board says why it leaves the record out
    held, found = _names(run, files), []
    name = Path(arrays.path).name if arrays else ""
    if arrays is not None and name in held:  # some records are kept without their arrays
        found.append(path.parent / name)
        _copy(store, run, files, name, found[0], arrays.sha256)
    for figure in held:
        folder, _, name = figure.rpartition("/")
        if folder == FIGURES and name == Path(name).name:
            (path.parent / FIGURES).mkdir(exist_ok=True)
            _copy(store, run, files, figure, path.parent / FIGURES / name)
    return found


def _names(run: "Run", files: Files) -> list[str]:
    """The artifacts of a run: a tag names them, unless it had no room for all."""
    with suppress(KeyError, ValueError):
        told = json.loads(run.data.tags[FILES])
        if isinstance(told, list):
            return [str(name) for name in told]
    return files.names(FIGURES)


def _copy(store: Store, run: "Run", files: Files, name: str, path: Path, expected: str = "") -> None:
    """Copy one artifact of a run, unless it is there already.

    Args:
        name: its path among the artifacts.
        path: where it goes.
        expected: its hash, where it is known.

    Raises:
        UserError: when the store has lost it, or holds another one.
    """
    if expected and path.is_file() and sha256(path) == expected:
        return
    try:
        files.copy(name, path)
    except Exception as error:  # of MLflow, or of the store behind it
        store.find(f"attributes.run_id = '{run.info.run_id}'")  # raises where the whole store is gone
        raise UserError(
            f"{name} of MLflow run {run.info.run_id} cannot be fetched: {first_line(error)}"
        ) from None
    if expected and sha256(path) != expected:
        raise UserError(f"{name} of MLflow run {run.info.run_id} has changed since it was logged")
