"""Logging in the background: no call waits, and what was not logged is said."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.tracking import Settings, background
from bench.tracking.background import Tracker
from bench.tracking.calls import calling


class Log:
    """What a stand-in for MLflow was asked to log, and how it answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.answer = threading.Event()
        self.answer.set()
        self.error: Exception | None = None

    def sync_folder(self, store: object, folder: Path, *, live: bool, **_: object) -> None:
        self.answer.wait(30)
        if self.error is not None:
            raise self.error
        self.calls.append((folder.name, live))


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    log = Log()

    @contextmanager
    def calling(settings: Settings) -> Iterator[None]:
        yield

    monkeypatch.setattr(background, "calling", calling)
    monkeypatch.setattr(background, "Store", lambda settings, **_: object())
    monkeypatch.setattr(background, "sync_folder", log.sync_folder)
    yield log
    log.answer.set()
    for thread in threading.enumerate():
        if thread.name == background.THREAD:
            thread.join()


MakeTracker = Callable[..., tuple[Tracker, list[str]]]


@pytest.fixture
def tracker_of(tmp_path: Path) -> Iterator[MakeTracker]:
    made = []

    def make(**values: Any) -> tuple[Tracker, list[str]]:
        lines: list[str] = []
        settings = Settings(**{"uri": "http://me:secret@host", "interval": 0, "pause": 0, **values})
        made.append(Tracker(settings, lines.append, patience=0.5))
        return made[-1], lines

    yield make
    for tracker in made:
        tracker.close()


def folders(tmp_path: Path, *names: str) -> list[Path]:
    for name in names:
        (tmp_path / name).mkdir()
    return [tmp_path / name for name in names]


def test_a_folder_waits_at_most_once_and_its_last_word_counts(
    tmp_path: Path, log: Log, tracker_of: MakeTracker
) -> None:
    (tracker, lines), (a, b) = tracker_of(), folders(tmp_path, "a", "b")
    log.answer.clear()
    tracker.sync(a)
    while tracker._queue:
        time.sleep(0.001)  # the thread has taken the first
    for _ in range(100):
        tracker.sync(a)
        tracker.sync(b)
    tracker.sync(a, final=True)
    assert len(tracker._queue) == 2
    log.answer.set()
    tracker.wait()
    tracker.close()
    assert log.calls == [("a", True), ("a", False), ("b", True), ("b", False)]
    assert lines == []
    assert not background.busy()


def test_a_run_that_was_stopped_anywhere_has_its_last_word(
    tmp_path: Path, log: Log, tracker_of: MakeTracker
) -> None:
    (tracker, lines), (a,) = tracker_of(), folders(tmp_path, "a")
    tracker.sync(a)
    tracker.close()
    tracker.close()
    assert log.calls[-1] == ("a", False)
    assert log.calls.count(("a", False)) == 1
    assert lines == []


def test_a_silent_store_is_left_with_all_its_folders_named_once(
    tmp_path: Path, log: Log, tracker_of: MakeTracker
) -> None:
    (tracker, lines), (a, b) = tracker_of(), folders(tmp_path, "a", "b")
    log.answer.clear()
    tracker.sync(a, final=True)
    tracker.sync(b, final=True)
    tracker.close()
    tracker.close()
    assert lines == [
        f"tracking: MLflow at http://host has not answered in time; nothing is lost, `bench track {a} {b}` "
        "logs it later"
    ]
    assert background.busy()


def test_patience_is_spent_once_over_all_runs(tmp_path: Path, log: Log, tracker_of: MakeTracker) -> None:
    (tracker, _), (a, b) = tracker_of(), folders(tmp_path, "a", "b")
    log.answer.clear()
    tracker.sync(a, final=True)
    tracker.wait()
    assert tracker._patience <= 0
    tracker.sync(b, final=True)
    tracker.wait()
    assert log.calls == []


def test_a_failure_is_said_once_by_the_thread_that_calls(
    tmp_path: Path, log: Log, tracker_of: MakeTracker
) -> None:
    (tracker, lines), (a, b) = tracker_of(), folders(tmp_path, "a", "b")
    said_by = []
    tracker.say = lambda line: (said_by.append(threading.current_thread()), lines.append(line))[0]
    log.error = UserError("no access for http://me:secret@host")
    for folder in (a, b):
        tracker.sync(folder)
        tracker.wait()
        tracker.sync(folder, final=True)
        tracker.wait()
    tracker.close()
    assert lines == [
        f"tracking: no access for http://host; nothing is lost, `bench track {a}` logs it later",
        f"tracking: MLflow at http://host has not taken everything; nothing is lost, `bench track {b}` "
        "logs it later",
    ]
    assert set(said_by) == {threading.main_thread()}


def test_after_a_recovery_nothing_is_left(tmp_path: Path, log: Log, tracker_of: MakeTracker) -> None:
    (tracker, lines), (a,) = tracker_of(), folders(tmp_path, "a")
    log.error = RuntimeError("broken")
    tracker.sync(a, final=True)
    tracker.wait()
    assert len(lines) == 1
    log.error = None
    tracker.sync(a, final=True)
    tracker.close()
    assert log.calls == [("a", False)]
    assert len(lines) == 1


def test_while_it_rests_only_the_last_word_is_tried(
    tmp_path: Path, log: Log, tracker_of: MakeTracker
) -> None:
    (tracker, lines), (a,) = tracker_of(pause=3600), folders(tmp_path, "a")
    log.error = RuntimeError("broken")
    tracker.sync(a)
    tracker.wait()
    log.error = None
    tracker.sync(a)
    tracker.wait()
    assert log.calls == []
    tracker.sync(a, final=True)
    tracker.close()
    assert log.calls == [("a", False)]
    assert len(lines) == 1


def test_a_database_that_cannot_be_opened_is_tried_once(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").mkdir()
    lines: list[str] = []
    tracker = Tracker(Settings(uri=f"sqlite:///{tmp_path}/mlflow.db"), lines.append, patience=60)
    (run,) = folders(tmp_path, "run")
    tracker.sync(run, final=True)
    tracker.close()
    assert len(lines) == 1
    assert "mlflow.db is no file" in lines[0]


def test_a_database_is_not_tried_again_for_minutes(tmp_path: Path) -> None:
    from mlflow.store.db import utils

    before = utils.MAX_RETRY_COUNT
    with calling(Settings(uri=f"sqlite:///{tmp_path}/mlflow.db")):
        assert utils.MAX_RETRY_COUNT == 1
    assert before == utils.MAX_RETRY_COUNT


def test_a_server_that_never_answers_costs_no_more_than_the_patience(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = Settings(uri=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=5)
        lines: list[str] = []
        tracker = Tracker(settings, lines.append, patience=0.2)
        tracker.sync(tmp_path, final=True)
        tracker.close()
    assert len(lines) == 1
    assert "has not answered in time" in lines[0]
