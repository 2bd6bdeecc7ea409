"""Locks between processes: a file that one of them holds, freed by the system however the process ends."""

import errno
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    lock = FileLock(path, timeout=0)
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


def acquire(lock: FileLock, seconds: float, busy: str, say: Callable[[str], None]) -> None:
    """Take a lock, after at most so many seconds.

    Args:
        lock: to be released by the caller.
        seconds: how long to wait; 0 does not wait.
        busy: what holds the lock then, such as "another process is building site".
        say: told after `SILENT` seconds what is waited for.

    Raises:
        UserError: when the lock is still held at the end.
    """
    try:
        try:
            lock.acquire(timeout=min(seconds, SILENT))
        except Timeout:
            if seconds <= SILENT:
                raise
            say(f"{busy}; waiting up to {seconds:g} s for it (lock {lock.lock_file})")
            lock.acquire(timeout=seconds - SILENT)
    except Timeout:
        raise UserError(f"{busy} (lock {lock.lock_file}); try again when it is done") from None


@contextmanager
def waiting(path: Path, seconds: float, busy: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a file while the block runs; otherwise like `acquire`."""
    lock = FileLock(path)
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
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    lock.release()
    return False


def _acquired(lock: FileLock, path: Path) -> bool:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        return False
    except (OSError, NotImplementedError) as error:
        number = getattr(error, "errno", None)
        if number in _NO_LOCKS or isinstance(error, NotImplementedError):
            reason = "its file system has no locks, so that two processes could write the same files"
        else:
            reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"cannot write below {path.parent}: {reason}; choose another --out") from error
    return True
