"""Put a new folder in the place of an older one, so that there is a whole one at every moment."""

import ctypes
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.core.errors import UserError
from bench.core.locks import acquire, file_lock
from bench.core.temporary import temporary_folder

#: Seconds to wait for another process that builds the same site.
WAIT = 60
#: Of Linux: paths are relative to the working folder; both paths exist and change places.
AT_FDCWD, RENAME_EXCHANGE = -100, 2


@contextmanager
def alone(out: Path, wait: float | None = None) -> Iterator[None]:
    """Let one process at a time build a folder; blocks may be nested.

    Args:
        out: the folder; it need not exist.
        wait: seconds to wait for another process; `WAIT` by default.

    Raises:
        UserError: when another process is at work on it, or nothing can be written beside it.
    """
    out = out.resolve()
    lock = file_lock(out.parent / f".{out.name}.lock", is_singleton=True)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        acquire(lock, WAIT if wait is None else wait, f"another process is building {out}", warnings.warn)
    except OSError as error:
        raise UserError(
            f"cannot write beside {out}: {error.strerror or error}; choose another --out"
        ) from error
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            # While it is held: whoever waits for this file sees that it is gone, and makes another one.
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


@contextmanager
def replacing_folder(out: Path, entry: str) -> Iterator[Path]:
    """Give an empty folder beside `out`; put it in the place of `out` when the block succeeds.

    A process that is killed leaves the old folder or the new one.

    Args:
        out: the folder to replace; it need not exist.
        entry: the file that leads to all others.

    Raises:
        UserError: when the folder cannot be written.
    """
    out = out.resolve()
    try:
        with temporary_folder(out) as temporary:
            new = temporary / "new"
            new.mkdir()
            yield new
            if not out.exists():
                new.rename(out)
            elif not _exchange(new, out):
                _move_files(new, out, entry)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror or error}") from error


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; False where the system or the file system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    names = os.fsencode(one), os.fsencode(other)
    return bool(rename(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE) == 0)


def _move_files(new: Path, out: Path, entry: str) -> None:
    """Move the files of a folder to another one by one, `entry` last, and delete the other's own files after it."""
    files = sorted(
        (path.relative_to(new) for path in _files(new)), key=lambda path: (path == Path(entry), path)
    )
    for path in files:
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        os.replace(new / path, out / path)
    for path in set(_files(out)) - {out / path for path in files}:
        path.unlink()
    for folder in sorted((path for path in out.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
