"""Waiting for a lock: silent when it is short, said when it is long, an error at the end."""

import threading
from pathlib import Path

import pytest
from filelock import FileLock

from bench.core import locks
from bench.core.errors import UserError
from bench.core.locks import waiting

BUSY = "another process is logging runs/a"


def test_a_free_lock_is_taken_without_a_word(tmp_path: Path) -> None:
    lines: list[str] = []
    with (
        waiting(tmp_path / "lock", 0, BUSY, lines.append),
        pytest.raises(UserError, match=f"^{BUSY} \\(lock .*lock\\)"),
        waiting(tmp_path / "lock", 0, BUSY, lines.append),
    ):
        pass
    with waiting(tmp_path / "lock", 0, BUSY, lines.append):
        assert lines == []


def test_a_long_wait_is_said_once_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "SILENT", 0.05)
    lines: list[str] = []
    said = threading.Event()

    def say(line: str) -> None:
        lines.append(line)
        said.set()

    def hold(held: threading.Event) -> None:
        with FileLock(tmp_path / "lock"):
            held.set()
            said.wait(60)

    held = threading.Event()
    other = threading.Thread(target=hold, args=(held,))
    other.start()
    held.wait(60)
    with waiting(tmp_path / "lock", 60, BUSY, say):
        assert lines == [f"{BUSY}; waiting up to 60 s for it (lock {tmp_path / 'lock'})"]
    other.join()
