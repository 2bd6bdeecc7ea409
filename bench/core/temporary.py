"""Temporary files and folders beside the places that they take in the end, and the sweeping of what kills left.

A process locks each of its temporary files and folders. The system releases the lock when the process ends, however
it ends, so that what can be locked was left behind.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

SUFFIX = ".part"
#: `.NAME.RANDOM.part`; some without RANDOM, and some of databases, come from earlier versions.
_FILE = re.compile(r"\..+\.[a-z0-9_]{8}\.part(-journal|-wal|-shm)?|\.(checkpoint\.pt|history\.jsonl)\.part")
_LOCKS = sys.platform != "win32"
_swept: set[Path] = set()


@contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """Yield an empty file beside `path`; delete it after the block where it is still there.

    The first one that a process makes in a folder sweeps the folder.
    """
    if path.parent not in _swept:
        sweep(path.parent)
        _swept.add(path.parent)
    held = False
    while not held:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIX)
        held = _hold(descriptor, name)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)
        os.close(descriptor)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path` and delete it after the block; folders that kills left there go first."""
    sweep_folders(path)
    held, descriptor = False, None
    while not held:
        name = tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIX)
        descriptor = os.open(name, os.O_RDONLY) if _LOCKS else None
        held = descriptor is None or _hold(descriptor, name)
    try:
        yield Path(name)
    finally:
        shutil.rmtree(name, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def scratch_folder() -> AbstractContextManager[Path]:
    """Like `temporary_folder`, in the system's folder for temporary files."""
    return temporary_folder(Path(tempfile.gettempdir()) / "regionbench")


def sweep(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder, and nothing that is still written."""
    with suppress(OSError):
        for entry in list(os.scandir(folder)):
            if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                _delete_unless_held(Path(entry.path))


def sweep_folders(path: Path) -> None:
    """Delete the temporary folders that killed processes left beside a path."""
    for left in path.parent.glob(f".{_literal(path.name)}.*"):
        if _is_left_folder(left, path.name):
            _delete_unless_held(left)


def sweep_all(folder: Path) -> None:
    """Sweep a folder and every folder below it."""
    for place, _, _ in os.walk(folder):
        sweep(Path(place))


def _literal(name: str) -> str:
    return re.sub(r"([\[*?])", r"[\1]", name)


def _is_left_folder(folder: Path, name: str) -> bool:
    random, dot, rest = folder.name.removeprefix(f".{name}.").partition(".")
    if not re.fullmatch(r"[a-z0-9_]{8}", random) or folder.is_symlink() or not folder.is_dir():
        return False
    # Earlier versions built sites in folders without the suffix.
    return dot + rest == SUFFIX or (not dot and {path.name for path in folder.iterdir()} <= {"new", "old"})


def _hold(descriptor: int, name: str) -> bool:
    """Lock a new file or folder; False where another process swept it before that."""
    if _LOCKS:
        with suppress(OSError):  # a file system without locks, on which nothing is swept either
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            return os.stat(name).st_ino == os.fstat(descriptor).st_ino
        except FileNotFoundError:
            return False
    return True


def _delete_unless_held(path: Path) -> None:
    if not _LOCKS:
        return
    with suppress(OSError):  # held, or not ours
        kind = os.O_RDONLY if path.is_dir() else os.O_RDWR
        descriptor = os.open(path, kind | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        finally:
            os.close(descriptor)
