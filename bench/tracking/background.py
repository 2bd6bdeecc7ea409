"""Log run folders to MLflow from a thread of its own, so that no training waits for a store."""

import atexit
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.record import RECORD, SEARCH, TRIAL
from bench.core.secrets import hide
from bench.tracking.calls import calling
from bench.tracking.settings import Settings
from bench.tracking.store import Store
from bench.tracking.sync import is_behind, run_links, sync_folder

Say = Callable[[str], None]
STATE_FILES = (f"trials/*/{TRIAL}", SEARCH, f"seed-*/*/{RECORD}")
#: Seconds that a process waits for a store that is not answering, over all its runs.
PATIENCE = 1.8
#: Seconds between two looks at whether the thread works or waits.
STEP = 0.2
#: The part of a step that a working thread computes at least.
WORKING = 0.02
THREAD = "tracking"


class Tracker:
    """Keep MLflow in step with run folders, without ever failing a run or holding it up.

    The run folders are the queue: `sync` notes that one has news, and the thread reads there what is to be logged.
    So the queue is never longer than the number of folders, and nothing is lost with the process.

    Args:
        settings: where to log.
        say: told one line when the store cannot be reached, and what could not be logged; always called by
            the thread that calls the tracker.
        patience: seconds to wait for a store that is not answering, in all.
    """

    def __init__(self, settings: Settings, say: Say, *, patience: float = PATIENCE) -> None:
        self.settings = settings
        self.say = say
        self._patience = patience
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None
        self._queue: dict[Path, bool] = {}
        self._open: dict[Path, None] = {}
        self._unsent: dict[Path, None] = {}
        self._told: set[Path] = set()
        self._lines: list[str] = []
        self._noted: set[str] = set()
        self._warned = False
        self._loading = False
        self._rest_until = 0.0
        self._store: Store | None = None
        self._seen: dict[Path, tuple[float, Any]] = {}

    def sync(self, run_folder: Path, *, final: bool = False) -> None:
        """Have whatever is new in a run folder logged; returns at once, so it may follow every epoch.

        Args:
            run_folder: `runs/<run>/`.
            final: the last call for this folder: what has not ended counts as killed.
        """
        with self._news:
            self._queue[run_folder] = final
            self._open[run_folder] = None
            if final:
                self._unsent[run_folder] = None
                del self._open[run_folder]
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
                self._thread.start()
                atexit.register(self.close)
        self._speak()

    def catch_up(self, run_folders: Iterable[Path]) -> None:
        """Have logged what the processes that worked on these folders did not live to log."""
        for run_folder in run_folders:
            if is_behind(run_folder, self.settings):
                self.sync(run_folder, final=True)

    def links(self, records: Sequence[Path]) -> dict[str, str]:
        """Record id → MLflow run, as far as run folders remember it."""
        self.wait()
        return run_links(records, self.settings)

    def wait(self) -> None:
        """Wait until everything is logged, or until the patience with a silent store is at its end."""
        with self._news:
            while self._thread is not None and self._patience > 0:
                before, started = time.process_time(), time.monotonic()
                self._news.wait(min(STEP, self._patience))
                elapsed = time.monotonic() - started
                # Importing MLflow and making its tables is work, which goes on; only silence counts.
                if not self._loading and time.process_time() - before < WORKING * elapsed:
                    self._patience -= elapsed
        self._speak()

    def close(self) -> None:
        """Wait as `wait` does, and say what is still to be logged; a folder without its last call has one now."""
        atexit.unregister(self.close)
        try:
            for run_folder in list(self._open):  # of a run that was stopped on its way
                self.sync(run_folder, final=True)
            self.wait()
        finally:
            with self._news:
                unsent = [folder for folder in self._unsent if folder not in self._told]
                self._unsent.clear()
                silent = self._thread is not None
            if unsent:
                words = "has not answered in time" if silent else "has not taken everything"
                folders = " ".join(map(str, unsent))
                self.say(
                    f"tracking: MLflow at {self.settings.shown} {words}; nothing is lost, "
                    f"`bench track {folders}` logs it later"
                )

    def _speak(self) -> None:
        with self._news:
            lines, self._lines = self._lines, []
        for line in lines:
            self.say(line)

    def _note(self, line: str) -> None:
        """Keep a line of the thread for `_speak`, once."""
        with self._news:
            if line not in self._noted:
                self._noted.add(line)
                self._lines.append(f"tracking: {hide(line)}")

    def _work(self) -> None:
        while True:
            with self._news:
                if not self._queue:
                    self._thread = None
                    self._news.notify_all()
                    return
                run_folder = next(iter(self._queue))
                final = self._queue.pop(run_folder)
            try:
                self._log(run_folder, final)
            except BaseException as error:  # whatever happens to tracking, the training goes on
                self._fail(run_folder, error)

    def _log(self, run_folder: Path, final: bool) -> None:
        state = _state(run_folder)
        if not final and not self._due(run_folder, state):
            return
        self._loading = True
        with calling(self.settings):
            self._loading = False
            self._store = self._store or Store(self.settings, create=True, say=self._note)
            if run_folder.is_dir():
                trust = run_folder in self._seen
                sync_folder(self._store, run_folder, live=not final, trust=trust, say=self._note)
        self._seen[run_folder] = (time.monotonic(), state)
        with self._news:
            self._warned = False
            self._told.discard(run_folder)
            if final:
                self._unsent.pop(run_folder, None)

    def _fail(self, run_folder: Path, error: BaseException) -> None:
        self._rest_until = time.monotonic() + self.settings.pause
        self._seen.pop(run_folder, None)
        self._store, self._loading = None, False
        reason = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        with self._news:
            if not self._warned:
                self._told.add(run_folder)
                self._lines.append(
                    f"tracking: {hide(' '.join(reason.split()))}; nothing is lost, "
                    f"`bench track {run_folder}` logs it later"
                )
            self._warned = True

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

    def catch_up(self, run_folders: Iterable[Path]) -> None:
        """Do nothing."""

    def links(self, records: Sequence[Path]) -> dict[str, str]:
        """None."""
        return {}

    def close(self) -> None:
        """Do nothing."""


def busy() -> bool:
    """Whether a thread is still logging: the process must then end without waiting for it."""
    return any(thread.name == THREAD for thread in threading.enumerate())


def _state(folder: Path) -> list[tuple[str, int]]:
    files = [path for pattern in STATE_FILES for path in folder.glob(pattern)]
    return sorted((str(path), path.stat().st_mtime_ns) for path in files)
