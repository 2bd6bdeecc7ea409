"""Signals at random moments: what is finished is kept, MLflow knows how it ended, and nothing goes on alone."""

import json
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.faults.command import Bench, waited_for_core
from benchmarks.faults.trial import Fault, FaultClass, Trial

SMALL = ["--train-size", "120", "--test-size", "20"]
RUN = [
    "run",
    "--defense",
    "standard",
    "--trials",
    "0",
    "--epochs",
    "4",
    "--metrics",
    "clean_accuracy,robust_accuracy/pgd20",
]
EVALUATE = [
    "evaluate",
    "--model",
    "cnn6",
    "--checkpoint",
    "weights.safetensors",
    "--metrics",
    "clean_accuracy",
]
STUDY = """study: table
title: t
train: {dataset: digits, epochs: 2, train_size: 120, test_size: 20, trials: 0}
rows: {natural: {defense: standard}, smooth: {defense: standard, recipe: "paper,label_smoothing=0.1"}}
columns: [clean_accuracy]
"""
COMMANDS = {
    "run": [*RUN, *SMALL],
    "evaluate": [*EVALUATE, "--test-size", "200"],
    "study": ["study", "study.yaml"],
    "track": ["track", "done"],
}
SIGNALS_SENT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds in which an interpreter has come to our code.
START = 1.0
#: The same, with room.
EARLY = 4.0


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    ready = _prepare(bench, folder)
    whole: dict[str, tuple[object, float]] = {}
    for number in range(tries):
        name = draw.choice([*COMMANDS, "run", "ui"])
        place = folder / str(number)
        shutil.copytree(ready, place)
        if name == "ui":
            sent = draw.choice([*SIGNALS_SENT, signal.SIGKILL])
            yield Trial(f"ui, {sent.name}", tuple(_of_ui(bench, place, sent, draw.uniform(START, 12))))
        else:
            if name not in whole:
                whole[name] = _whole(bench, ready, folder / f"whole-{name}", COMMANDS[name])
            expected, seconds = whole[name]
            sent, moment = draw.choice(SIGNALS_SENT), draw.uniform(START, max(seconds, START))
            faults = _of_command(bench, place, name, sent, moment, expected)
            yield Trial(f"{name}, {sent.name} after {moment:.1f} s", tuple(faults))


def _prepare(bench: Bench, folder: Path) -> Path:
    """A folder in which every command can start."""
    made = folder / "made"
    made.mkdir()
    done = bench(
        *RUN, *SMALL, "--tracking", "sqlite:///mlflow.db", folder=made, cpu_seconds=300, wall_seconds=600
    )
    if done.code:
        raise RuntimeError(done.text)
    ready = folder / "ready"
    ready.mkdir()
    (ready / "study.yaml").write_text(STUDY)
    (ready / "mlflow.yaml").write_text("interval: 0\n")
    (weights,) = made.glob("runs/*/seed-0/*/weights.safetensors")
    shutil.copy(weights, ready / "weights.safetensors")
    shutil.copytree(made / "runs", ready / "done")
    for path in ready.rglob("tracking.json"):
        path.unlink()
    with closing(sqlite3.connect(made / "mlflow.db")) as database:  # the tables, without the runs
        for table in (
            "metrics",
            "latest_metrics",
            "params",
            "tags",
            "input_tags",
            "inputs",
            "datasets",
            "runs",
        ):
            database.execute(f"DELETE FROM {table}")
        database.commit()
    shutil.copy(made / "mlflow.db", ready / "mlflow.db")
    return ready


def _whole(bench: Bench, ready: Path, place: Path, words: list[str]) -> tuple[object, float]:
    """What a command gives undisturbed, and the seconds it takes."""
    shutil.copytree(ready, place)
    started = time.monotonic()
    process = bench.start(*words, folder=place)
    _, errors = process.communicate(timeout=600)
    if process.returncode:
        raise RuntimeError(errors)
    return _result(place), time.monotonic() - started


def _of_command(
    bench: Bench, place: Path, name: str, sent: signal.Signals, moment: float, expected: object
) -> Iterator[Fault]:
    process = bench.start(*COMMANDS[name], folder=place)
    _let_run(process, moment)
    process.send_signal(sent)
    try:
        output, errors = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        process.kill()
        yield Fault("hang", "60 s after the signal")
        return
    if "Traceback" in output + errors:
        yield Fault("traceback", errors.strip().splitlines()[-1])
    # Minus the number: the signal ended the process itself, which may be so before the first line of ours. Python
    # ends so, too, under `python -m` where Ctrl-C met it in `exec` of a text, as in imports; shells see 130.
    early = moment < EARLY
    heard = "the same command goes on" in errors
    if process.returncode not in (0, 128 + sent, *([-sent] if early or heard else [])):
        yield Fault("lost", f"exit code {process.returncode}: {errors[-200:]}")
    if process.returncode == 128 + sent and not heard:
        yield Fault("lost", "does not say how to go on")
    if (left := _statuses(place)["RUNNING"]) and "bench track" not in errors and not early:
        yield Fault("accepted", f"{left} runs are RUNNING in MLflow")
    again = bench(*COMMANDS[name], folder=place, cpu_seconds=300, wall_seconds=600)
    if again.code != 0 or again.traceback:
        yield Fault("lost", f"again: exit code {again.code}: {again.last_line}")
        return
    result, statuses = _result(place), _statuses(place)
    if result != expected:
        yield Fault("lost", f"again: {result} instead of {expected}")
    if set(statuses) != {"FINISHED"}:
        yield Fault("accepted", f"again: MLflow has {dict(statuses)}")


def _let_run(process: "subprocess.Popen[str]", seconds: float) -> None:
    """Wait until a process has had so many seconds, without those in which every core was busy."""
    started = time.monotonic()
    while (left := seconds + waited_for_core(process.pid) - (time.monotonic() - started)) > 0:
        time.sleep(min(left, 0.2))


def _of_ui(bench: Bench, place: Path, sent: signal.Signals, moment: float) -> Iterator[Fault]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    process = bench.start("ui", "--port", str(port), folder=place)
    _let_run(process, moment)
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    if "Traceback" in errors:
        yield Fault("traceback", errors.strip().splitlines()[-1])
    if process.returncode not in (128 + sent, -sent, *([0] if sent == signal.SIGINT else [])):
        yield Fault("lost", f"exit code {process.returncode}: {errors[-200:]}")
    deadline = time.monotonic() + 20
    while (left := _processes(f"--port {port}")) and time.monotonic() < deadline:
        time.sleep(0.2)
    if left:
        yield Fault("leftover", f"after 20 s: {left[0][:120]}")


def _processes(words: str) -> list[str]:
    titles = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            titles.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [title for title in titles if words in title]


def _result(place: Path) -> object:
    """The scores of every record, and how many MLflow runs of each name there are."""
    scores = {}
    for path in sorted(place.glob("runs/*/seed-*/*/record.json")):
        record = json.loads(path.read_text())
        values = {name: score["value"] for name, score in record["metrics"].items()}
        scores[str(path.relative_to(place))] = (values, record["files"]["weights"]["sha256"])
    return scores, _query(place, "SELECT name FROM runs")


def _statuses(place: Path) -> Counter[str]:
    return _query(place, "SELECT status FROM runs")


def _query(place: Path, query: str) -> Counter[str]:
    with closing(sqlite3.connect(place / "mlflow.db")) as database:
        return Counter(value for (value,) in database.execute(f"{query} WHERE lifecycle_stage = 'active'"))


SIGNALS = FaultClass(name="signals", title="signals at random moments", tries=60, sample=2, provoke=_provoke)
