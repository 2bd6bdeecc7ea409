"""Share many small jobs out among processes; what they give does not depend on how many there are."""

import gc
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

#: Fewer jobs are done here, as starting a process takes as long as many of them.
MANY = 100
#: Jobs that a process takes at a time.
_AT_A_TIME = 16

#: The jobs, as the processes of a pool inherit them.
_jobs: Sequence[Callable[[], Any]] = ()


def do_all(jobs: Sequence[Callable[[], T]]) -> list[T]:
    """Do jobs, and give what each returns, in their order; see `do_each`."""
    return list(do_each(jobs))


def do_each(jobs: Sequence[Callable[[], T]]) -> Iterator[T]:
    """Do jobs, and give what each returns as soon as it and those before it are done.

    Args:
        jobs: each independent of the others; what it returns can be pickled.

    Raises:
        Exception: what a job raises.
    """
    if not is_shared_out(len(jobs)):
        yield from (job() for job in jobs)
        return
    starts = range(0, len(jobs), _AT_A_TIME)
    # Objects that a garbage collection of a process looks at are copied into its memory.
    gc.freeze()
    try:
        with _pool(jobs, _processors()) as pool:
            for part in pool.map(_do_some, starts):
                yield from part
    finally:
        gc.unfreeze()


def do_apart(job: Callable[[], T]) -> T:
    """Do a job in a process of its own, where processes can be started: the memory that it takes ends with it.

    Raises:
        Exception: what the job raises.
    """
    if not is_shared_out(MANY):
        return job()
    with _pool([job], 1) as pool:
        (done,) = pool.submit(_do_some, 0).result()
    return done


@contextmanager
def _pool(jobs: Sequence[Callable[[], Any]], processes: int) -> Iterator[ProcessPoolExecutor]:
    """Processes that inherit these jobs."""
    with warnings.catch_warnings():
        # Idle threads of libraries for linear algebra, which jobs do not use.
        warnings.simplefilter("ignore", DeprecationWarning)
        fork = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(processes, fork, initializer=_take, initargs=(jobs,)) as pool:
            yield pool


def is_shared_out(jobs: int) -> bool:
    """Whether so many jobs are done in several processes."""
    return jobs >= MANY and _processors() > 1 and _may_fork()


def _take(jobs: Sequence[Callable[[], Any]]) -> None:
    global _jobs
    _jobs = jobs
    # The first process says that it was interrupted.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _do_some(start: int) -> list[Any]:
    return [job() for job in _jobs[start : start + _AT_A_TIME]]


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1


def _may_fork() -> bool:
    """Whether a copy of this process is whole: elsewhere than on Linux, or with threads at work, it may not be."""
    return sys.platform == "linux" and threading.active_count() == 1
