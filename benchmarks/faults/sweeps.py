"""Faults of sweeps: whatever dies, nothing is lost, nothing done twice, and nothing left RUNNING.

Each trial is a sweep of seven short cells: a search of two trials, its three trainings, and three others. A part of
it is disturbed once; then the same command is given until it ends well, and its results, leases and MLflow runs are
compared with those of a sweep that nobody disturbed.
"""

import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.sweep.cells import FOLDER
from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.disk import mount, unmount
from benchmarks.faults.trial import Fault, FaultClass, Trial

#: CPU seconds that a command may take.
SECONDS = 300
#: Seconds in which an interpreter has come to our code.
START = 3.0
#: Calls after which a sweep that was disturbed once must have ended.
CALLS = 4
EPOCHS = 4
SWEEP = f"""defense: [jacobian, standard]
model: cnn6(width=0.25)
seeds: [0, 1, 2]
epochs: {EPOCHS}
trials: 2
train_size: 60
test_size: 20
metrics: [clean_accuracy, robust_accuracy/fgsm]
"""
STORE = "mlflow.db"
#: What a command says that ended before MLflow had taken everything.
LATER = "logs it later"
#: A kill, a second call or a full disk: given the bench, a folder and the seconds of an undisturbed sweep.
Disturbance = Callable[[Bench, Path, float, random.Random], str]


@dataclass(frozen=True)
class Whole:
    """A sweep that nobody disturbed: its results, the names of its MLflow runs, and the seconds it took."""

    results: dict[str, Any]
    runs: Counter[str]
    seconds: float


def sweep(
    bench: Bench,
    place: Path,
    *options: str,
    seconds: float = 10.0 * SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Outcome:
    """Run the sweep in a folder; it is killed with `kill -9` after so many seconds."""
    words = ("sweep", "sweep.yaml", "--takeover-after", "2", *options)
    return bench(*words, folder=place, environment=environment, cpu_seconds=SECONDS, wall_seconds=seconds)


def written(bench: Bench, folder: Path, *, tracking: str = "") -> tuple[Path, Whole]:
    """A folder in which sweeps can start, and what an undisturbed one gives."""
    ready, whole = folder / "ready", folder / "whole"
    ready.mkdir()
    (ready / "sweep.yaml").write_text(SWEEP)
    (ready / "mlflow.yaml").write_text("interval: 0\npause: 1\n")
    shutil.copytree(ready, whole)
    started = time.monotonic()
    done = sweep(bench, whole, *(["--tracking", tracking] if tracking else []))
    if done.code != 0:
        raise RuntimeError(done.text)
    seconds = time.monotonic() - started
    runs = Counter() if tracking else _query(whole, "SELECT name FROM runs")
    return ready, Whole(results(whole), runs, seconds)


def results(place: Path) -> dict[str, Any]:
    """What each training gave: its scores, weights and history, without times."""
    found = {}
    for path in sorted(place.glob("runs/*/seed-*/*/record.json")):
        record = json.loads(path.read_text())
        scores = {name: score["value"] for name, score in record["metrics"].items()}
        search = record["defense"]["search"] or {}
        found[str(path.relative_to(place))] = {
            "scores": scores,
            "weights": record["files"]["weights"]["sha256"],
            "trials": [search.get("trials"), search.get("best_trial")],
            "epochs": [row["epoch"] for row in record["history"]],
        }
    return found


def faults_of(bench: Bench, place: Path, whole: Whole) -> Iterator[Fault]:
    """What differs from an undisturbed sweep."""
    found = results(place)
    for path in whole.results.keys() - found.keys():
        yield Fault("lost", path)
    for path in found.keys() - whole.results.keys():
        yield Fault("doubled", path)
    for path in found.keys() & whole.results.keys():
        if found[path] != whole.results[path]:
            yield Fault("lost", f"{path}: {found[path]} instead of {whole.results[path]}")
    runs = _query(place, "SELECT name FROM runs")
    if runs != whole.runs:
        more, fewer = dict(runs - whole.runs), dict(whole.runs - runs)
        yield Fault("lost" if fewer else "doubled", f"MLflow has {more} more and {fewer} fewer")
    statuses = _query(place, "SELECT status FROM runs")
    if set(statuses) != {"FINISHED"}:
        yield Fault("running", f"MLflow has {dict(statuses)}")
    told = sweep(bench, place, "--status", "--json").output
    if told.count('"state": "done"') != told.count('"state"'):
        yield Fault("running", " ".join(told.split())[-300:])
    if left := [path.name for path in (place / "runs").rglob("*") if ".part" in path.name]:
        yield Fault("leftover", ", ".join(left))


def _class(name: str, title: str, disturb: Disturbance, tries: int = 50) -> FaultClass:
    def provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
        ready, whole = written(bench, folder)
        for number in range(tries):
            place = shutil.copytree(ready, folder / str(number))
            what = disturb(bench, place, whole.seconds, draw)
            yield Trial(what, tuple(_ended(bench, place, whole)))
            shutil.rmtree(place, ignore_errors=True)  # workers may still be ending

    return FaultClass(name=name, title=title, tries=tries, sample=1, provoke=provoke)


def _ended(bench: Bench, place: Path, whole: Whole) -> Iterator[Fault]:
    """Give the command until it ends well, and look."""
    for _ in range(CALLS):
        outcome = sweep(bench, place)
        if outcome.traceback:
            yield Fault("traceback", outcome.last_line)
        if outcome.code == 0:
            if LATER in outcome.text:  # a busy machine kept the store from answering, and the command said so
                bench("track", "runs", folder=place, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
            yield from faults_of(bench, place, whole)
            return
    yield Fault("lost", f"after {CALLS} calls: {outcome.last_line}")


def _query(place: Path, query: str) -> Counter[str]:
    with closing(sqlite3.connect(place / STORE)) as database:
        return Counter(value for (value,) in database.execute(f"{query} WHERE lifecycle_stage = 'active'"))


def _kill_trainer(bench: Bench, place: Path, seconds: float, draw: random.Random) -> str:
    moment = draw.uniform(0.2, seconds)
    sweep(bench, place, seconds=moment)
    return f"after {moment:.1f} of {seconds:.1f} s"


def _kill_driver(bench: Bench, place: Path, seconds: float, draw: random.Random) -> str:
    """Its workers go on without it, and the next call works beside them."""
    moment = draw.uniform(0.2, 2 * seconds)
    sweep(bench, place, "--jobs", "2", seconds=moment)
    return f"after {moment:.1f} s"


def _kill_worker(bench: Bench, place: Path, seconds: float, draw: random.Random) -> str:
    moment = draw.uniform(1.0, seconds)
    with ThreadPoolExecutor(1) as thread:
        ended = thread.submit(sweep, bench, place, "--jobs", "2")
        held = _held_lease(place, ended.done)
        time.sleep(draw.uniform(0.0, 2.0))
        killed = _kill(held)
        outcome = ended.result()
    said = "killed" if killed else "too late"
    return f"process {held} {said} after {moment:.1f} s, exit code {outcome.code}"


def _held_lease(place: Path, over: Callable[[], bool]) -> int:
    """The number of a process that holds a lease; 0 where none ever does."""
    while not over():
        for path in (place / "runs" / FOLDER).glob("*.lease"):
            with suppress(OSError, ValueError):
                holder = json.loads(path.read_text())
                if holder["state"] == "held":
                    return int(holder["pid"])
        time.sleep(0.05)
    return 0


def _kill(number: int) -> bool:
    if number:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
            return True
    return False


def _two_calls(bench: Bench, place: Path, seconds: float, draw: random.Random) -> str:
    later = draw.uniform(0.0, seconds)
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(sweep, bench, place)
        time.sleep(later)
        second = threads.submit(sweep, bench, place)
        codes = [first.result().code, second.result().code]
    return f"the second {later:.1f} s later, exit codes {codes}"


def _dead_host(bench: Bench, place: Path, seconds: float, draw: random.Random) -> str:
    """A machine takes cells and is never seen again."""
    moment = draw.uniform(0.5, seconds)
    sweep(bench, place, seconds=moment)
    held = 0
    for path in (place / "runs" / FOLDER).glob("*.lease"):
        holder = json.loads(path.read_text())
        if holder["state"] == "held" or draw.random() < 0.5:
            path.write_text(json.dumps({**holder, "state": "held", "host": "gone", "machine": "gone"}))
            held += 1
    return f"{held} leases of a dead host after {moment:.1f} s"


def _other_clock(bench: Bench, place: Path, seconds: float, draw: random.Random) -> str:
    """Another machine, by its name, whose clock is two hours off; half of the time it dies."""
    clock = f"{draw.choice('+-')}2h"
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None or os.geteuid() != 0:
        return "libfaketime is not installed, or names of machines cannot be changed"
    variables = {"LD_PRELOAD": str(library), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    machine = ["unshare", "--uts", "sh", "-c", 'hostname elsewhere; exec "$@"', "sh"]
    words = ["sweep", "sweep.yaml", "--takeover-after", "2", "--quiet"]
    other = bench.start(*words, folder=place, environment=variables, before=machine)
    with ThreadPoolExecutor(1) as thread:
        here = thread.submit(sweep, bench, place)
        dies = draw.random() < 0.5
        if dies:
            time.sleep(draw.uniform(START, 2 * seconds))
            other.kill()
        _, errors = other.communicate()
        code = here.result().code
    said = "killed" if dies else f"exit code {other.returncode}: {errors.strip()[-100:]}"
    return f"{clock}: there {said}, here exit code {code}"


def _full_disk(bench: Bench, place: Path, seconds: float, draw: random.Random) -> str:
    """The disk of the runs is full after a random share of what the sweep needs."""
    runs = place / "runs"
    runs.mkdir()
    used = sum(path.stat().st_blocks * 512 for path in (place.parent / "whole" / "runs").rglob("*"))
    size = draw.uniform(0.05, 0.95) * used
    if not mount(runs, str(int(size))):
        return "no file system of its own here"
    outcome = sweep(bench, place)
    # What was written goes to a disk with room, as when space is made.
    shutil.copytree(runs, place / "kept", symlinks=True)
    unmount(runs)
    runs.rmdir()
    (place / "kept").rename(runs)
    return f"{size / 2**20:.1f} of {used / 2**20:.1f} MiB, exit code {outcome.code}"


#: The classes of this module.
SWEEPS = (
    _class("sweep-trainer", "sweeps: kill -9 of the training process", _kill_trainer),
    _class("sweep-worker", "sweeps: kill -9 of one of two workers", _kill_worker),
    _class("sweep-driver", "sweeps: kill -9 of the process that starts workers", _kill_driver),
    _class("sweep-twice", "sweeps: two calls at once", _two_calls),
    _class("sweep-host", "sweeps: leases of a dead host", _dead_host),
    _class("sweep-clock", "sweeps: a clock two hours off", _other_clock),
    _class("sweep-disk", "sweeps: a full disk", _full_disk),
)
