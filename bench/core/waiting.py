"""Wait for a lock that another process holds, and say so where it takes longer."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bench.core.errors import UserError

#: Seconds of waiting without a word.
SILENT = 2


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
