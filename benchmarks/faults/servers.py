"""Tracking servers that are slow, silent, failing or no MLflow at all: a run loses neither time nor results."""

import random
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.fake_server import BEHAVIORS, fake_server
from benchmarks.faults.trial import Fault, FaultClass, Trial

SMALL = ["--test-size", "20", "--metrics", "clean_accuracy"]
RUN = ["run", "--defense", "standard", "--trials", "0", "--epochs", "2", "--train-size", "60", *SMALL]
EVALUATE = ["evaluate", "--model", "cnn6", *SMALL, "--checkpoint"]
#: Seconds of its own that a run may wait for a server.
WAIT = 2.0
#: By how much two runs of the same command may differ on a busy machine.
NOISE = 4.0
#: What else a store may be: a port where nobody listens, files that are no database, a place that cannot be made.
STORES = ("refused", "folder", "text", "nowhere")


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    plain = _run(bench, folder / "plain", "none")
    records = folder / "plain" / "runs"
    trials = [
        (store, command)
        for command in ("run", "evaluate", "track", "build", "doctor")
        for store in (*BEHAVIORS, *STORES)
    ]
    draw.shuffle(trials)
    for store, command in trials[:tries]:
        place = folder / f"{store}-{command}"
        place.mkdir()
        with ExitStack() as stack:
            uri = _store(store, place, stack)
            (place / "mlflow.yaml").write_text("timeout: 4\n")
            if command == "run":
                faults = [*_of_run(bench, place, uri, plain.seconds)]
            elif command == "evaluate":
                faults = [*_of_evaluation(bench, place, uri, records, plain.seconds)]
            else:
                words = {
                    "track": ["track", str(records)],
                    "build": ["leaderboard", "build", "--out", "site"],
                    "doctor": ["doctor"],
                }
                # To be told to log is to be told to wait: dozens of requests of three seconds.
                outcome = bench(
                    *words[command], "--tracking", uri, folder=place, cpu_seconds=60, wall_seconds=400
                )
                faults = [*_of_command(outcome, 0 if command == "doctor" or store == "slow" else 2)]
        yield Trial(f"{command} with {store}", tuple(faults))


def _store(store: str, place: Path, stack: ExitStack) -> str:
    if store in BEHAVIORS:
        return f"http://{stack.enter_context(fake_server(store)).address}"
    if store == "refused":
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))  # bound, but not listening
        return f"http://127.0.0.1:{listener.getsockname()[1]}"
    if store == "nowhere":
        return "sqlite:////proc/nowhere/mlflow.db"
    path = place / "mlflow.db"
    path.mkdir() if store == "folder" else path.write_text("no database\n" * 100)
    return f"sqlite:///{path}"


def _run(bench: Bench, place: Path, uri: str) -> Outcome:
    place.mkdir(exist_ok=True)
    return bench(*RUN, "--tracking", uri, folder=place, cpu_seconds=120, wall_seconds=300)


def _of_run(bench: Bench, place: Path, uri: str, plain: float) -> Iterator[Fault]:
    yield from _kept(bench, place, _run(bench, place, uri), plain)


def _of_evaluation(bench: Bench, place: Path, uri: str, records: Path, plain: float) -> Iterator[Fault]:
    (weights,) = records.glob("*/seed-0/*/weights.safetensors")
    words = [*EVALUATE, str(weights), "--tracking", uri]
    outcome = bench(*words, folder=place, cpu_seconds=120, wall_seconds=300)
    yield from _kept(bench, place, outcome, plain)


def _kept(bench: Bench, place: Path, outcome: Outcome, plain: float) -> Iterator[Fault]:
    """Whether the record is there in time, and whether what was not logged is said and logged later."""
    if outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    if outcome.hung or outcome.seconds > plain + WAIT + NOISE:
        yield Fault("hang", f"{outcome.seconds:.0f} s, {plain:.0f} s without tracking")
    if outcome.code != 0 or not list(place.glob("runs/*/seed-0/*/record.json")):
        yield Fault("lost", f"exit code {outcome.code}: {outcome.last_line}")
        return
    said = re.findall(r"`bench track ([^`]+)`", outcome.errors)
    if not said:
        yield Fault("lost", "what was not logged is not said")
        return
    later = bench("track", *said[0].split(), "--tracking", "sqlite:///later.db", folder=place, cpu_seconds=60)
    if later.code != 0 or " in regionbench at " not in later.errors:
        yield Fault("lost", f"bench track: {later.last_line}")


def _of_command(outcome: Outcome, code: int) -> Iterator[Fault]:
    if outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    if outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    if code == 2 and (outcome.code != 2 or outcome.errors.count("\n") != 1):
        yield Fault("accepted", f"exit code {outcome.code}: {outcome.errors[:200]}")


SERVERS = FaultClass(name="servers", title="tracking servers that fail", tries=70, sample=2, provoke=_provoke)
