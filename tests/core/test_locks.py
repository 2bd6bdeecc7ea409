"""Locks: silent while the wait is short, said when long, an error at the end; file systems that do not lock."""

import errno
import fcntl
import threading
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from bench.core import locks
from bench.core.errors import UserError
from bench.core.locks import check_locks, held, local_locks, locked, waiting
from leaderboards.replace import alone

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


def _without_locks(number: int) -> Any:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(number, "no locks")

    return flock


@pytest.mark.parametrize(
    ("flock", "reason"),
    [
        (_without_locks(errno.ENOLCK), "has no locks"),
        (_without_locks(errno.ENOSYS), "has no locks"),
        (_without_locks(errno.EOPNOTSUPP), "has no locks"),
        (lambda descriptor, operation: None, "has locks that keep nobody out"),
    ],
)
def test_a_file_system_that_does_not_lock_is_refused_whoever_asks(
    flock: Any, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", flock)
    message = (
        f"^cannot work in {tmp_path}: its file system {reason}, so that two processes .* on another one$"
    )
    with pytest.raises(UserError, match=message), locked(tmp_path / "lock", BUSY):
        pass
    with pytest.raises(UserError, match=message), waiting(tmp_path / "lock", 0, BUSY, str):
        pass
    with pytest.raises(UserError, match=message), alone(tmp_path / "site"):
        pass
    with pytest.raises(UserError, match=message):
        check_locks(tmp_path)
    assert not held(tmp_path / "lock")


def test_a_refused_folder_is_left_where_another_process_has_written_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def written_meanwhile(descriptor: Any, operation: int) -> None:
        (tmp_path / "runs" / "other").write_text("a result")

    monkeypatch.setattr(fcntl, "flock", written_meanwhile)
    with pytest.raises(UserError, match="keep nobody out"):
        check_locks(tmp_path / "runs" / ".sweep")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["other"]


def test_locks_that_keep_others_out_pass(tmp_path: Path) -> None:
    check_locks(tmp_path / "made")
    check_locks(tmp_path / "made")
    with locked(tmp_path / "lock", BUSY):
        assert held(tmp_path / "lock")


@pytest.mark.parametrize(
    ("mount", "expected"),
    [
        ("server:/home {} nfs4 rw,vers=4.2,local_lock=none 0 0", ""),
        ("server:/home {} nfs rw,vers=3,nolock,local_lock=all 0 0", "nfs with local_lock=all, nolock"),
        ("server:/home {} nfs rw,vers=3,local_lock=posix 0 0", ""),
        ("mgs:/work {} lustre rw,localflock 0 0", "lustre with localflock"),
        ("//server/work {} cifs rw,nobrl 0 0", "cifs with nobrl"),
    ],
)
def test_mounts_whose_locks_hold_on_one_machine_are_known(
    mount: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "a shared folder"
    shared.mkdir()
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(locks, "_MOUNTS", mounts)
    assert local_locks(shared / "runs") == ""  # a system without the list
    place = str(shared).replace(" ", r"\040")
    lines = ["server:/ / nfs rw,nolock 0 0", mount.format(place), f"disk {tmp_path}/other ext4 rw 0 0"]
    mounts.write_text("\n".join(lines) + "\n")
    assert local_locks(shared / "runs") == expected
    assert local_locks(tmp_path / "other" / "runs") == ""
    assert local_locks(tmp_path) == "nfs with nolock"
