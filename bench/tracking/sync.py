"""Log run folders to MLflow: what is new is logged, and the folder remembers what was."""

import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from bench.core.errors import UserError
from bench.core.files import read_json, set_aside, write_json
from bench.core.locks import anyone_works, waiting
from bench.core.record import RECORD, load_record
from bench.tracking.entry import Entry
from bench.tracking.run_entries import folder_identity, read_run_folder, record_part
from bench.tracking.settings import Settings
from bench.tracking.store import LOCKED_SECONDS, Logged, Store

#: What `tracking.json` holds: store and experiment → part of the folder → what was logged.
_SECTIONS = TypeAdapter(dict[str, dict[str, Logged]])


def run_links(records: Iterable[Path], settings: Settings) -> dict[str, str]:
    """Record id → MLflow run: its page on a server, else its id; as far as run folders remember it.

    MLflow itself is not asked.

    Args:
        records: `runs/<run>/seed-N/<battery>/record.json`; others, and those that are not valid, are passed over.
        settings: the store whose runs are meant.
    """
    links = {}
    for path in map(Path.resolve, records):
        if len(path.parents) < 3:
            continue
        folder = path.parents[2]
        with suppress(UserError):
            logged = Ledger(folder, settings).get(record_part(path, folder))
            if logged is not None:
                links[load_record(path).id] = settings.run_page(logged.run_id, logged.experiment)
    return links


def is_behind(folder: Path, settings: Settings) -> bool:
    """Whether a run folder holds what was not logged, as far as it remembers; MLflow is not asked.

    So it is where a process died between a result and its logging.
    """
    ledger = Ledger(folder, settings)
    parts = {record_part(path, folder) for path in folder.glob(f"seed-*/*/{RECORD}")}
    return ledger.fresh or not parts <= ledger.run_ids().keys() or "RUNNING" in ledger.statuses()


def sync_folder(
    store: Store,
    folder: Path,
    *,
    live: bool,
    trust: bool = False,
    say: Callable[[str], None] = warnings.warn,
) -> dict[str, str]:
    """Log what is new in a run folder.

    Args:
        store: where to.
        folder: `runs/<run>/`.
        live: this process is working on it.
        trust: believe `tracking.json`; otherwise MLflow is asked which of those runs still exist.
        say: told what was rebuilt, and when another process keeps us waiting.

    Returns:
        part of the folder → MLflow run id.

    Raises:
        UserError: when a file of the folder is broken, after everything else was logged.
    """
    left_out: list[str] = []
    busy = f"another process is logging {folder}"
    with waiting(folder / ".tracking.lock", LOCKED_SECONDS, busy, say):
        ledger, written = Ledger(folder, store.settings, say), list[Entry]()
        if not trust or ledger.fresh:
            ledger.agree_with(_present(store, folder))
        parent: str | None = None
        # Another process may work on another seed when this one has ended.
        live = live or anyone_works(folder)
        for entry in read_run_folder(folder, live=live, left_out=left_out, say=say):
            logged = ledger.get(entry.part)
            if logged is None and entry.tags["role"] == "final":
                logged = find_record(store, entry)
            if logged is None or logged.fingerprint != entry.fingerprint():
                logged = store.write(entry, logged, parent)
                ledger.put(entry.part, logged)
                written.append(entry)
            if entry.tags["role"] == "search":
                parent = logged.run_id
        store.show(written)
    if left_out:
        raise UserError("; ".join(left_out))
    return ledger.run_ids()


def find_record(store: Store, entry: Entry) -> Logged | None:
    """What MLflow holds of exactly this record, wherever it was logged from."""
    runs = store.find(f"tags.`bench.record_sha256` = '{entry.tags['bench.record_sha256']}'")
    return _logged(runs[0]) if runs else None


def _present(store: Store, folder: Path) -> list[tuple[str, Logged]]:
    runs = store.find(f"tags.`bench.folder` = '{folder_identity(folder)}'")
    return [(run.data.tags["bench.part"], _logged(run)) for run in runs]


def _logged(run: Any) -> Logged:
    info = run.info
    return Logged(info.run_id, info.start_time, info.status, experiment=str(info.experiment_id))


class Ledger:
    """`tracking.json`: what was logged where; one section for each store and experiment."""

    def __init__(self, folder: Path, settings: Settings, say: Callable[[str], None] | None = None) -> None:
        section = f"{settings.shown} {settings.experiment}"
        self._path = folder / "tracking.json"
        self._all = self._read(say)
        #: Nothing is remembered, so MLflow is to be asked.
        self.fresh = section not in self._all
        self._parts: dict[str, Any] = self._all.setdefault(section, {})

    def _read(self, say: Callable[[str], None] | None) -> dict[str, Any]:
        """What is on disk. A damaged file counts as none: MLflow knows the same, and it is written again.

        It is set aside where there is somebody to tell.
        """
        if not os.path.lexists(self._path):
            return {}
        try:
            found = _SECTIONS.validate_python(read_json(self._path))
        except (UserError, ValidationError):
            if say is not None:
                set_aside(self._path, "is damaged, and is written again from what MLflow holds", say)
            return {}
        return {
            name: {part: asdict(logged) for part, logged in section.items()}
            for name, section in found.items()
        }

    def get(self, part: str) -> Logged | None:
        """What was logged of a part."""
        return Logged(**self._parts[part]) if part in self._parts else None

    def put(self, part: str, logged: Logged) -> None:
        """Remember a part, on disk at once."""
        self._parts[part] = asdict(logged)
        write_json(self._path, self._all)

    def agree_with(self, present: list[tuple[str, Logged]]) -> None:
        """Forget runs that are gone from MLflow, and take up those that we do not remember."""
        alive = {logged.run_id for _, logged in present}
        for part, remembered in list(self._parts.items()):
            if remembered["run_id"] not in alive:
                del self._parts[part]
        for part, logged in present:
            self._parts.setdefault(part, asdict(logged))["experiment"] = logged.experiment
        if present:
            write_json(self._path, self._all)

    def statuses(self) -> set[str]:
        """The states of what was logged."""
        return {logged["status"] for logged in self._parts.values()}

    def run_ids(self) -> dict[str, str]:
        """Part → MLflow run id."""
        return {part: logged["run_id"] for part, logged in self._parts.items()}
