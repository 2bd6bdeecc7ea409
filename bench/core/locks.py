"""Locks between processes: a file that one of them holds, freed by the system however the process ends."""

import errno
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from bench.core.errors import UserError

#: Seconds between two tries to take a lock that another process holds.
PAUSE = 0.5
#: Tries before another process is believed to hold a lock, and the seconds between them.
TRIES, MOMENT = 5, 0.02
#: Seconds of waiting without a word.
SILENT = 2
#: In a run folder: of its search, and of the training and the results of one seed.
SEARCH_LOCK = ".lock"
_SEED_LOCK = ".seed-{}.lock"
_WORKER_LOCK = ".search-{}.lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
#: Options of mounts whose locks hold on one machine only: of NFS, Lustre and SMB.
_LOCAL_OPTIONS = {"nolock", "local_lock=all", "local_lock=flock", "localflock", "nobrl"}
_MOUNTS = Path("/proc/self/mounts")
#: Folders in which a lock was seen to exclude others.
_excluding: set[Path] = set()


class Busy(UserError):
    """Another process holds a lock."""


@contextmanager
def locked(path: Path, busy: str, *, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock while the block runs.

    Args:
        path: of the lock's file; its folder is made.
        busy: the message where another process holds the lock.
        wait: called once before waiting for the other process; None does not wait.

    Raises:
        Busy: when another process holds the lock and nothing waits.
        UserError: when the folder cannot be written or cannot lock.
    """
    lock = file_lock(path)
    tries = 0
    while not _acquired(lock, path):
        tries += 1
        if tries < TRIES:  # `held` takes the lock for a moment
            time.sleep(MOMENT)
            continue
        if wait is None:
            raise Busy(f"{busy} (lock {path})")
        if tries == TRIES:
            wait()
        time.sleep(PAUSE)
    try:
        yield
    finally:
        lock.release()


def check_locks(folder: Path) -> None:
    """Refuse a folder whose file system has no locks, or whose locks keep nobody out; then it is not made either.

    Raises:
        UserError: for such a folder, or one that cannot be written.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with locked(folder / SEARCH_LOCK, "", wait=lambda: None):
            pass
    except UserError:
        with suppress(OSError):  # what another process has put there stays
            if missing:
                (folder / SEARCH_LOCK).unlink(missing_ok=True)
            for each in missing:
                each.rmdir()
        raise


def local_locks(folder: Path) -> str:
    """How the file system of a folder is mounted so that its locks hold on one machine only; "" where it is not."""
    folder, found = folder.resolve(), (0, "")
    with suppress(OSError):  # systems without this list
        for line in _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            _, place, kind, options, *_ = line.split(" ")
            mount = Path(place.replace("\\040", " "))
            if folder.is_relative_to(mount) and len(mount.parts) >= found[0]:
                local = ", ".join(sorted(_LOCAL_OPTIONS & {*options.split(",")}))
                found = len(mount.parts), local and f"{kind} with {local}"
    return found[1]


def file_lock(path: Path, *, is_singleton: bool = False) -> FileLock:
    """A lock that the system frees however its process ends; never one that a kill would leave locked."""
    return FileLock(path, timeout=0, is_singleton=is_singleton, fallback_to_soft=False)


def acquire(lock: FileLock, seconds: float, busy: str, say: Callable[[str], None]) -> None:
    """Take a lock, after at most so many seconds.

    Args:
        lock: to be released by the caller.
        seconds: how long to wait; 0 does not wait.
        busy: what holds the lock then, such as "another process is building site".
        say: told after `SILENT` seconds what is waited for.

    Raises:
        UserError: when the lock is still held at the end, or the folder cannot lock.
        OSError: when the folder cannot be written.
    """
    try:
        try:
            _take(lock, min(seconds, SILENT))
        except Timeout:
            if seconds <= SILENT:
                raise
            say(f"{busy}; waiting up to {seconds:g} s for it (lock {lock.lock_file})")
            _take(lock, seconds - SILENT)
    except Timeout:
        raise UserError(f"{busy} (lock {lock.lock_file}); try again when it is done") from None


@contextmanager
def waiting(path: Path, seconds: float, busy: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a file while the block runs; otherwise like `acquire`."""
    lock = file_lock(path)
    acquire(lock, seconds, busy, say)
    try:
        yield
    finally:
        lock.release()


def seed_lock(seed: int) -> str:
    """The name of the lock of one seed in a run folder."""
    return _SEED_LOCK.format(seed)


def anyone_works(folder: Path) -> bool:
    """Whether a process works on the search or on a seed of a run folder now."""
    several = [path for name in (_SEED_LOCK, _WORKER_LOCK) for path in folder.glob(name.format("*"))]
    return any(held(path) for path in [folder / SEARCH_LOCK, *several])


@contextmanager
def search_worker(folder: Path) -> Iterator[None]:
    """Mark a folder while the block runs, in which this process is one of several that search."""
    path = folder / _WORKER_LOCK.format(secrets.token_hex(8))
    with locked(path, ""):
        yield
    path.unlink(missing_ok=True)


def held(path: Path) -> bool:
    """Whether a process holds the lock of a file now."""
    if not path.exists():
        return False
    lock = file_lock(path)
    try:
        lock.acquire()
    except Timeout:
        return True
    except OSError:
        return False
    lock.release()
    return False


def _acquired(lock: FileLock, path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _take(lock, 0)
    except Timeout:
        return False
    except OSError as error:
        raise UserError(
            f"cannot write below {path.parent}: {error.strerror or error}; choose another --out"
        ) from error
    return True


def _take(lock: FileLock, seconds: float) -> None:
    path = Path(lock.lock_file)
    try:
        lock.acquire(timeout=seconds)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise _cannot_lock(path, "has no locks") from error
    if path.parent not in _excluding:
        if not held(path):
            lock.release()
            raise _cannot_lock(path, "has locks that keep nobody out")
        _excluding.add(path.parent)


def _cannot_lock(path: Path, what: str) -> UserError:
    return UserError(
        f"cannot work in {path.parent}: its file system {what}, so that two processes could write the same files; "
        f"choose a folder on another one"
    )
