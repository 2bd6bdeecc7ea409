"""Log run folders to MLflow: what is new is logged, and the folder remembers what was."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.core.errors import UserError
from bench.core.files import read_json, write_json
from bench.core.record import RECORD, SEARCH, TRIAL, load_record
from bench.tracking.entry import Entry
from bench.tracking.run_entries import folder_identity, read_run_folder, record_part
from bench.tracking.settings import Settings
from bench.tracking.store import Logged, Store, open_store

Say = Callable[[str], None]
STATE_FILES = (f"trials/*/{TRIAL}", SEARCH, f"seed-*/*/{RECORD}")


class Tracker:
    """Keep MLflow in step with run folders, without ever failing a run.

    Args:
        settings: where to log.
        say: told one line when the store cannot be reached.
    """

    def __init__(self, settings: Settings, say: Say) -> None:
        self.settings = settings
        self.say = say
        self._seen: dict[Path, tuple[float, Any]] = {}
        self._rest_until = 0.0
        self._warned = False

    def sync(self, run_folder: Path, *, final: bool = False) -> None:
        """Log whatever is new in a run folder; cheap enough to call after every epoch.

        Args:
            run_folder: `runs/<run>/`.
            final: the last call of this process: no waiting, and what has not ended counts as killed.
        """
        try:
            state = _state(run_folder)
            if final or self._due(run_folder, state):
                with open_store(self.settings) as store:
                    sync_folder(store, run_folder, live=not final, trust=run_folder in self._seen)
                self._seen[run_folder] = (time.monotonic(), state)
                self._warned = False
        except Exception as error:  # whatever happens to tracking, the training goes on
            self._rest_until = time.monotonic() + self.settings.pause
            self._seen.pop(run_folder, None)
            if not self._warned:
                reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
                self.say(
                    f"tracking: {' '.join(reason.split())}; nothing is lost, "
                    f"`bench track {run_folder}` logs it later"
                )
            self._warned = True

    def links(self, records: Sequence[Path]) -> dict[str, str]:
        """Record id → MLflow run id, as far as run folders remember it."""
        return run_links(records, self.settings)

    def _due(self, run_folder: Path, state: Any) -> bool:
        now = time.monotonic()
        if now < self._rest_until:
            return False
        when, before = self._seen.get(run_folder, (None, None))
        return when is None or state != before or now - when >= self.settings.interval


class NullTracker:
    """Null tracker, for `--tracking none`."""

    def sync(self, run_folder: Path, *, final: bool = False) -> None:
        """Do nothing."""

    def links(self, records: Sequence[Path]) -> dict[str, str]:
        """None."""
        return {}


def run_links(records: Iterable[Path], settings: Settings) -> dict[str, str]:
    """Record id → MLflow run id, as far as run folders remember it; MLflow itself is not asked.

    Args:
        records: `runs/<run>/seed-N/<battery>/record.json`; others are passed over.
        settings: the store whose runs are meant.

    Raises:
        UserError: when a record is not valid.
    """
    links = {}
    for path in records:
        folder = path.resolve().parents[2]
        logged = Ledger(folder, settings).get(record_part(path.resolve(), folder))
        if logged is not None:
            links[load_record(path).id] = logged.run_id
    return links


def sync_folder(store: Store, folder: Path, *, live: bool, trust: bool = False) -> dict[str, str]:
    """Log what is new in a run folder.

    Args:
        store: where to.
        folder: `runs/<run>/`.
        live: somebody is working on it.
        trust: believe `tracking.json`; otherwise MLflow is asked which of those runs still exist.

    Returns:
        part of the folder → MLflow run id.

    Raises:
        UserError: when the folder is broken.
    """
    with FileLock(folder / ".tracking.lock", timeout=120):
        ledger = Ledger(folder, store.settings)
        if not trust:
            ledger.agree_with(_present(store, folder))
        parent: str | None = None
        for entry in read_run_folder(folder, live=live):
            logged = ledger.get(entry.part)
            if logged is None and entry.tags["role"] == "final":
                logged = find_record(store, entry)
            if logged is None or logged.fingerprint != entry.fingerprint():
                logged = store.write(entry, logged, parent)
                ledger.put(entry.part, logged)
            if entry.tags["role"] == "search":
                parent = logged.run_id
        return ledger.run_ids()


def find_record(store: Store, entry: Entry) -> Logged | None:
    """What MLflow holds of exactly this record, wherever it was logged from."""
    runs = store.find(f"tags.`bench.record_sha256` = '{entry.tags['bench.record_sha256']}'")
    return _logged(runs[0]) if runs else None


def _present(store: Store, folder: Path) -> list[tuple[str, Logged]]:
    runs = store.find(f"tags.`bench.folder` = '{folder_identity(folder)}'")
    return [(run.data.tags["bench.part"], _logged(run)) for run in runs]


def _logged(run: Any) -> Logged:
    return Logged(run.info.run_id, run.info.start_time, run.info.status)


def _state(folder: Path) -> list[tuple[str, int]]:
    files = [path for pattern in STATE_FILES for path in folder.glob(pattern)]
    return sorted((str(path), path.stat().st_mtime_ns) for path in files)


class Ledger:
    """`tracking.json`: what was logged where; one section for each store and experiment."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        section = f"{settings.shown} {settings.experiment}"
        self._path = folder / "tracking.json"
        self._all: dict[str, Any] = read_json(self._path) if self._path.is_file() else {}
        self._parts: dict[str, Any] = self._all.setdefault(section, {})

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
            self._parts.setdefault(part, asdict(logged))

    def run_ids(self) -> dict[str, str]:
        """Part → MLflow run id."""
        return {part: logged["run_id"] for part, logged in self._parts.items()}
