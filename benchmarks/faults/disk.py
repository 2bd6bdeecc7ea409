"""Full disks: a run stops with a line, and the same command finishes once there is space.

Each level is a file system in memory of another size, from one that holds almost nothing to one that lacks a
little.
Only the superuser can make them, and only on Linux; elsewhere the class has no trials.
"""

import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.damaged_runs import COMMAND, result
from benchmarks.faults.stores import finished_runs
from benchmarks.faults.trial import Fault, FaultClass, Trial

SECONDS = 120
#: The shares of the space that the whole run needs.
LEVELS = 14


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    whole = folder / "whole"
    whole.mkdir()
    if not mount(whole, "64m"):
        return
    try:
        bench(*COMMAND, folder=whole, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
        used, expected = _used(whole), result(whole)
    finally:
        unmount(whole)
    for number in range(tries):
        size = int(used * (number + 0.5) / tries)
        place = folder / str(number)
        place.mkdir()
        mount(place, str(size))
        try:
            full = bench(*COMMAND, folder=place, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
            faults = list(_of_full(full))
            subprocess.run(["mount", "-o", "remount,size=64m", str(place)], check=True)
            outcome = bench(*COMMAND, folder=place, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
            faults += _of_freed(outcome, place, expected)
            tracked = bench("track", "runs", folder=place, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
            faults += _of_store(tracked, place / "mlflow.db", len(expected))
        finally:
            unmount(place)
        yield Trial(f"{size / 2**20:.1f} of {used / 2**20:.1f} MiB", tuple(faults))


def mount(place: Path, size: str) -> bool:
    """Give a folder a file system in memory; False where that cannot be done."""
    if os.name != "posix" or os.geteuid() != 0:
        return False
    words = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def unmount(place: Path) -> None:
    """Take it away, with what it holds."""
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def _used(place: Path) -> int:
    about = os.statvfs(place)
    return (about.f_blocks - about.f_bfree) * about.f_frsize


def _of_full(outcome: Outcome) -> Iterator[Fault]:
    if outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    elif outcome.code not in (0, 2):
        yield Fault("wordy", f"exit code {outcome.code}: {outcome.last_line}")


def _of_freed(outcome: Outcome, place: Path, expected: object) -> Iterator[Fault]:
    if outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.code != 0:
        yield Fault("lost", outcome.last_line)
    elif (found := result(place)) != expected:
        yield Fault("lost", f"got {found}, without a full disk {expected}")
    left = [path.name for path in place.rglob("*") if ".part" in path.name or path.name.endswith(".broken")]
    if left:
        yield Fault("leftover", ", ".join(left))


def _of_store(tracked: Outcome, database: Path, results: int) -> Iterator[Fault]:
    """A run goes on without its store, so what became of the store is looked at by itself."""
    if tracked.code != 0:
        yield Fault("lost", tracked.last_line)
    elif (found := finished_runs(database)) != results:
        yield Fault("lost", f"MLflow has {found} of {results} results")


DISK = FaultClass(name="disk", title="full disks", tries=LEVELS, sample=1, provoke=_provoke)
