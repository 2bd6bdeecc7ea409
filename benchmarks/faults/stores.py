"""Kills while MLflow's store is made: the same command again finds or makes a whole one."""

import random
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.faults.bad_input import Inputs
from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.trial import Fault, FaultClass, Trial

#: CPU seconds that making a store may take on a busy machine.
SECONDS = 60


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    inputs = Inputs.make(bench, folder / "inputs")

    def track(place: Path, wall_seconds: float) -> Outcome:
        words = ("track", inputs.record, "--tracking", "sqlite:///kept.db")
        return bench(*words, folder=place, cpu_seconds=SECONDS, wall_seconds=wall_seconds)

    whole = folder / "whole"
    whole.mkdir()
    started = time.monotonic()
    track(whole, 10 * SECONDS)
    duration = time.monotonic() - started
    for number in range(tries):
        # At moments spread over the whole time, each with a little chance.
        after = duration * (number + draw.random()) / tries
        place = folder / str(number)
        place.mkdir()
        track(place, after)
        outcome = track(place, 10 * SECONDS)
        yield Trial(f"killed after {after:.2f} s of {duration:.2f} s", tuple(_faults(outcome, place)))


def _faults(outcome: Outcome, place: Path) -> Iterator[Fault]:
    if outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.code != 0:
        yield Fault("lost", outcome.last_line)
    elif finished_runs(place / "kept.db") != 1:
        yield Fault("lost", f"{finished_runs(place / 'kept.db')} finished runs of one record")
    left = [
        path.name for path in place.iterdir() if path.name not in ("kept.db", "kept.db.lock", "mlartifacts")
    ]
    if left and outcome.code == 0:
        yield Fault("leftover", ", ".join(sorted(left)))


def finished_runs(database: Path) -> int:
    """How many results a SQLite store of MLflow holds."""
    with closing(sqlite3.connect(database)) as connection:
        query = "SELECT count(*) FROM runs WHERE status = 'FINISHED' AND name NOT LIKE '% training'"
        finals = f"{query} AND run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'role' AND value = 'final')"
        return int(connection.execute(finals).fetchone()[0])


STORES = FaultClass(
    name="stores", title="kills while MLflow's store is made", tries=50, sample=2, provoke=_provoke
)
