"""Faults of what sweeps work with: MLflow's server, PostgreSQL behind a shared search, a node of a Ray cluster."""

import json
import os
import random
import shutil
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bench.training.storage import SILENCE
from benchmarks.faults.command import Bench
from benchmarks.faults.island import island
from benchmarks.faults.local_servers import Server, mlflow_server, postgres_programs, postgres_server
from benchmarks.faults.sweeps import CALLS, SECONDS, results, sweep, written
from benchmarks.faults.trial import Fault, FaultClass, Trial

SEARCH = """defense: jacobian
model: cnn6(width=0.25)
seeds: [0, 1]
epochs: 3
trials: 6
train_size: 60
test_size: 20
metrics: [clean_accuracy]
tracking: none
"""


#: Stops a server, and some seconds later brings it back.
Outage = tuple[Callable[[], None], Callable[[], None]]


def _kill_mlflow(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    """The server is killed while a sweep logs to it, and started again."""
    with mlflow_server(folder) as server:
        yield from _mlflow_away(bench, folder, tries, draw, server, (server.kill, server.start), 5.0)


def _cut_mlflow(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    """No packet comes through to the server for a while."""
    with island() as there:
        if there is not None:
            with mlflow_server(folder, there) as server:
                yield from _mlflow_away(bench, folder, tries, draw, server, (there.cut, there.mend), 20.0)


def _mlflow_away(
    bench: Bench,
    folder: Path,
    tries: int,
    draw: random.Random,
    server: Server,
    outage: Outage,
    longest: float,
) -> Iterator[Trial]:
    ready, whole = written(bench, folder, tracking="none")
    stop, bring_back = outage
    for number in range(tries):
        place = shutil.copytree(ready, folder / str(number))
        variables = {"MLFLOW_TRACKING_URI": f"http://{server.host}:{server.port}"}
        variables["MLFLOW_EXPERIMENT_NAME"] = f"try {number}"
        with ThreadPoolExecutor(1) as thread:
            running = thread.submit(sweep, bench, place, environment=variables)
            moment, away = draw.uniform(0.5, whole.seconds), draw.uniform(0.0, longest)
            time.sleep(moment)
            stop()
            time.sleep(away)
            bring_back()
            outcome = running.result()
        again = bench(
            "track", "runs", folder=place, environment=variables, cpu_seconds=SECONDS, wall_seconds=600
        )
        faults = list(_of_results(place, whole.results))
        if again.code != 0 or outcome.traceback or again.traceback:
            faults.append(Fault("lost", f"bench track: exit code {again.code}: {again.last_line}"))
        faults += _of_server(server, f"try {number}", len(whole.results))
        yield Trial(f"after {moment:.1f} s, away for {away:.1f} s, exit code {outcome.code}", tuple(faults))


def _of_results(place: Path, expected: dict[str, Any]) -> Iterator[Fault]:
    if (found := results(place)) != expected:
        yield Fault("lost", f"{found} instead of {expected}")


def _of_server(server: Server, experiment: str, count: int) -> Iterator[Fault]:
    """Every result once, and nothing RUNNING."""
    base = f"http://{server.host}:{server.port}/api/2.0/mlflow"
    name = urllib.parse.quote(experiment)
    with urllib.request.urlopen(f"{base}/experiments/get-by-name?experiment_name={name}") as answer:
        number = json.load(answer)["experiment"]["experiment_id"]
    request = urllib.request.Request(
        f"{base}/runs/search",
        json.dumps({"experiment_ids": [number], "max_results": 1000}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        runs = json.load(answer).get("runs", [])
    statuses = Counter(run["info"]["status"] for run in runs)
    tags = [{tag["key"]: tag["value"] for tag in run["data"].get("tags", [])} for run in runs]
    # Runs of several trainings have one name, under different parents.
    names = Counter((each.get("mlflow.runName"), each.get("mlflow.parentRunId")) for each in tags)
    roles = Counter(each.get("role") for each in tags)
    if set(statuses) != {"FINISHED"}:
        yield Fault("running", f"MLflow has {dict(statuses)}")
    if doubled := {name: number for name, number in names.items() if number > 1}:
        yield Fault("doubled", f"MLflow has {doubled}")
    if roles["final"] != count:
        yield Fault("lost", f"MLflow has {roles['final']} of {count} results")


def _kill_postgres(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    """PostgreSQL is killed while two processes share a search on it; its end may end both, and never the search."""
    programs = postgres_programs()
    if programs is not None:
        with postgres_server(programs) as (server, address):
            yield from _postgres_away(bench, folder, tries, draw, address, (server.kill, server.start), 3.0)


def _cut_postgres(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    """No packet comes through to PostgreSQL for a while, longer or shorter than a connection outlives."""
    programs = postgres_programs()
    with island() as there:
        if there is not None and programs is not None:
            with postgres_server(programs, there) as (_, address):
                outage = there.cut, there.mend
                yield from _postgres_away(bench, folder, tries, draw, address, outage, 1.5 * SILENCE)


def _postgres_away(
    bench: Bench,
    folder: Path,
    tries: int,
    draw: random.Random,
    address: str,
    outage: Outage,
    longest: float,
) -> Iterator[Trial]:
    stop, bring_back = outage
    for number in range(tries):
        place = folder / str(number)
        place.mkdir()
        (place / "sweep.yaml").write_text(SEARCH.replace("epochs: 3", f"epochs: {3 + number}"))
        variables = {"REGIONBENCH_STORAGE": address}
        with ThreadPoolExecutor(2) as threads:
            running = [threads.submit(sweep, bench, place, environment=variables) for _ in range(2)]
            moment, away = draw.uniform(0.5, 8.0), draw.uniform(0.0, longest)
            time.sleep(moment)
            stop()
            time.sleep(away)
            bring_back()
            codes = [each.result().code for each in running]
        faults = []
        for _ in range(CALLS):
            outcome = sweep(bench, place, environment=variables)
            if outcome.traceback:
                faults.append(Fault("traceback", outcome.last_line))
            if outcome.code == 0:
                break
        else:
            faults.append(Fault("lost", outcome.last_line))
        faults += _of_search(place)
        yield Trial(f"after {moment:.1f} s, away for {away:.1f} s, exit codes {codes}", tuple(faults))


def _of_search(place: Path) -> Iterator[Fault]:
    """Every trial once, by number and by result, and both trainings of the winner."""
    numbers = sorted(
        json.loads(path.read_text())["number"] for path in place.glob("runs/*/trials/*/trial.json")
    )
    states = Counter(
        json.loads(path.read_text())["state"] for path in place.glob("runs/*/trials/*/trial.json")
    )
    if numbers != list(range(6)):
        yield Fault("lost", f"trials {numbers}")
    if states["RUNNING"]:
        yield Fault("running", f"{states['RUNNING']} trials")
    found = results(place)
    if len(found) != 2 or any(each["trials"][0] != 6 for each in found.values()):
        yield Fault("lost", f"{found}")


def _kill_node(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    """A node of a two-node cluster is killed while it does cells; another one joins for the next try."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from ray.cluster_utils import Cluster
    except ImportError:
        return
    ready, whole = written(bench, folder, tracking="none")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        for number in range(tries):
            place = shutil.copytree(ready, folder / str(number))
            node = cluster.add_node(num_cpus=1)
            with ThreadPoolExecutor(1) as thread:
                running = thread.submit(
                    sweep,
                    bench,
                    place,
                    *("--tracking", "none", "--executor", "ray", "--ray-address", cluster.address),
                )
                while not running.done() and not list((place / "runs" / ".sweep").glob("*.lease")):
                    time.sleep(0.05)
                moment = draw.uniform(0.0, 2 * whole.seconds)
                time.sleep(moment)
                cluster.remove_node(node, allow_graceful=False)
                outcome = running.result()
            faults = list(_of_results(place, whole.results))
            if outcome.code != 0:
                faults.append(Fault("lost", f"exit code {outcome.code}: {outcome.last_line}"))
            yield Trial(f"{moment:.1f} s after the first cell began", tuple(faults))
    finally:
        cluster.shutdown()


#: The classes of this module.
SWEEP_SERVERS = (
    FaultClass("sweep-mlflow", "sweeps: kill -9 of MLflow's server", 50, 1, _kill_mlflow),
    FaultClass("sweep-postgres", "sweeps: kill -9 of PostgreSQL behind a search", 50, 1, _kill_postgres),
    FaultClass("sweep-cut-mlflow", "sweeps: no network to MLflow's server for a while", 50, 1, _cut_mlflow),
    FaultClass(
        "sweep-cut-postgres", "sweeps: no network to PostgreSQL behind a search", 50, 1, _cut_postgres
    ),
    FaultClass("sweep-ray", "sweeps: kill -9 of a Ray node", 50, 1, _kill_node),
)
