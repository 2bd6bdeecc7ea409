"""Damaged files in the folder of a run that was interrupted: the same command finishes it, or says what to do."""

import json
import random
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.trial import Fault, FaultClass, Trial

SECONDS = 120
COMMAND = (
    *("run", "--defense", "jacobian", "--epochs", "2", "--trials", "2", "--train-size", "60"),
    *(
        "--test-size",
        "12",
        "--metrics",
        "clean_accuracy,robust_accuracy/fgsm,robust_accuracy/pgd100",
        "--seeds",
        "0,1",
    ),
)
#: The last file that the interrupted run wrote.
LAST = "*/seed-1/*/parts/robust_accuracy.fgsm.npz"
#: Files of a run folder, as patterns below `runs/`.
FILES = (
    *("*/run.json", "*/search.db", "*/search.json", "*/tracking.json", "*/trials/0000/trial.json"),
    *("*/trials/0001/trial.json", "*/trials/0000/history.jsonl", "*/trials/0001/checkpoint.pt"),
    *("*/seed-0/checkpoint.pt", "*/seed-0/history.jsonl", "*/seed-0/*/record.json"),
    *("*/seed-1/checkpoint.pt", "*/seed-1/history.jsonl", "*/seed-1/*/weights.safetensors"),
    *("*/seed-1/*/parts/clean_accuracy.npz", "*/seed-1/*/parts/identity", LAST),
)
#: Kinds of damage; `other` is another whole file of the kind.
DAMAGE = ("empty", "cut", "junk", "flipped", "other", "folder", "missing")


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    whole, half = folder / "whole", folder / "half"
    for place in (whole, half):
        place.mkdir()
    bench(*COMMAND, folder=whole, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
    _interrupt(bench, half)
    every = [(pattern, damage) for pattern in FILES for damage in DAMAGE]
    for number, (pattern, damage) in enumerate(draw.sample(every, min(tries, len(every)))):
        place = shutil.copytree(half, folder / str(number))
        found = sorted((place / "runs").glob(pattern))
        if not found:
            continue
        _spoil(found[0], damage, half / "runs", draw)
        outcome = bench(*COMMAND, folder=place, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
        said = f"{found[0].relative_to(place / 'runs' / found[0].relative_to(place / 'runs').parts[0])}, {damage}"
        yield Trial(said, tuple(_faults(outcome, place, result(whole))))
        shutil.rmtree(place)


def result(place: Path) -> dict[str, Any]:
    """What a run found: the hash of the weights and the clean accuracy by seed."""
    found = {}
    for path in (place / "runs").glob("*/seed-*/*/record.json"):
        record = json.loads(path.read_text())
        scores = {name: record["metrics"][name]["value"] for name in sorted(record["metrics"])}
        found[str(record["seed"])] = (record["files"]["weights"]["sha256"], scores)
    return found


def _interrupt(bench: Bench, place: Path) -> None:
    """Finish one seed, and stop in the battery of the next; again where the moment passed unseen."""
    bench(*COMMAND[:-1], "0", folder=place, cpu_seconds=SECONDS, wall_seconds=10 * SECONDS)
    for _ in range(10):
        process = bench.start(*COMMAND, folder=place)
        while process.poll() is None and not any((place / "runs").glob(LAST)):
            time.sleep(0.001)
        process.kill()
        process.communicate()
        if any((place / "runs").glob(LAST)):
            return
        shutil.rmtree(next((place / "runs").glob("*/seed-1")))
    raise RuntimeError("the run ended before it could be interrupted")


def _spoil(path: Path, damage: str, runs: Path, draw: random.Random) -> None:
    content = path.read_bytes()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[: len(content) * 2 // 3])
    elif damage == "junk":
        path.write_bytes(draw.randbytes(len(content)))
    elif damage == "flipped":
        spoiled = bytearray(content)
        for at in draw.sample(range(len(content)), min(8, len(content))):
            spoiled[at] ^= 1 << draw.randrange(8)
        path.write_bytes(spoiled)
    elif damage == "other":
        others = [each for each in sorted(runs.rglob(f"*{path.suffix}")) if each.read_bytes() != content]
        path.write_bytes(draw.choice(others).read_bytes() if others else b"{}")
    else:
        path.unlink()
        if damage == "folder":
            path.mkdir()


def _faults(outcome: Outcome, place: Path, expected: dict[str, Any]) -> Iterator[Fault]:
    lines = [line for line in outcome.errors.splitlines() if line.startswith("Error: ")]
    if outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    elif outcome.code == 2 and len(lines) == 1:
        return  # an honest word, which no user could miss
    elif outcome.code != 0:
        yield Fault("lost", f"exit code {outcome.code}: {outcome.last_line}")
    elif (found := result(place)) != expected:
        yield Fault("accepted", f"another result, with exit code 0: {_difference(found, expected)}")
    else:
        yield from _still_damaged(place)


def _difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    return ", ".join(seed for seed in expected if found.get(seed) != expected[seed])


def _still_damaged(place: Path) -> Iterator[Fault]:
    """Files that are no JSON after the run, and MLflow runs that never end."""
    for path in (place / "runs").rglob("*.json*"):
        if path.suffix in (".json", ".jsonl") and "site" not in path.parts:
            try:
                for line in [path.read_text()] if path.suffix == ".json" else path.read_text().splitlines():
                    json.loads(line)
            except (ValueError, OSError) as error:
                yield Fault("lost", f"{path.name} is still damaged: {error}")
    with closing(sqlite3.connect(place / "mlflow.db")) as connection:
        running = connection.execute(
            "SELECT name FROM runs WHERE status = 'RUNNING' AND lifecycle_stage = 'active'"
        ).fetchall()
    if running:
        yield Fault("lost", f"MLflow says of {', '.join(name for (name,) in running)} that it is running")


DAMAGED_RUNS = FaultClass(
    name="resume", title="damaged files of an interrupted run", tries=119, sample=3, provoke=_provoke
)
