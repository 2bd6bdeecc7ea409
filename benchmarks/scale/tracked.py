"""How long MLflow's server over PostgreSQL takes with thousands of runs: to log, to find, to fetch, to show.

python -m benchmarks.scale.tracked                 # 10,000 runs; PostgreSQL must be installed
python -m benchmarks.scale.tracked --runs 500

The first runs are logged through the server, and timed. The rest are written into its tables and its folder of
artifacts, with the same content. Then a board is built from the server, and MLflow's page of results is opened.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy

from bench.cli.signals import stopping
from bench.tracking import load_settings
from bench.tracking.calls import calling
from bench.tracking.entry import Entry
from bench.tracking.record_entry import read_record
from bench.tracking.store import Store, open_store
from benchmarks.faults.local_servers import Server, mlflow_server, postgres_programs, postgres_server
from benchmarks.site.records import write_records

#: Runs that are logged through the server.
LOGGED = 50
#: Rows that are written to the database at once.
AT_ONCE = 500


def main() -> None:
    """Print the seconds of each part."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=10_000)
    options = parser.parse_args()
    programs = postgres_programs()
    if programs is None:
        raise SystemExit("PostgreSQL is not installed: apt-get install postgresql")
    print(f"{options.runs:,} runs on MLflow's server over PostgreSQL", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="tracked-") as folder,
        postgres_server(programs) as (_, database),
        mlflow_server(Path(folder), database=database, workers=2) as server,
    ):
        for part, seconds in _parts(Path(folder), options.runs, database, server):
            print(f"{seconds:8.1f} s  {part}", flush=True)


def _parts(folder: Path, runs: int, database: str, server: Server) -> Iterator[tuple[str, float]]:
    records, address = folder / "records", f"http://{server.host}:{server.port}"
    write_records(records, runs)
    paths = sorted(records.rglob("record.json"))
    logged = min(LOGGED, runs)
    # Patience, for a machine that does other things too.
    (folder / "mlflow.yaml").write_text("timeout: 300\nupload_timeout: 300\n")
    os.chdir(folder)
    settings = load_settings(address)
    assert settings is not None
    with open_store(settings) as store:
        with _timed() as clock:
            for path in paths[:logged]:
                entry = read_record(path)
                store.write(entry, None, None)
        yield f"{logged} runs logged by one process", clock()
        store.show([entry])
        experiment = store.client.get_experiment(store.experiment_id)
    with _timed() as clock:
        _write_runs(paths[logged:], database, experiment.experiment_id, folder / "artifacts")
    yield "the others written into the tables", clock()
    with calling(settings):
        store = Store(settings, create=False)
        with _timed() as clock:
            found = store.find("tags.role = 'final' and attributes.status = 'FINISHED'")
        assert len(found) == runs, len(found)
        yield "all runs found", clock()
        with _timed() as clock:
            store.client.search_runs(
                [store.experiment_id], max_results=100, order_by=["metrics.worst_case DESC"]
            )
        yield "the first hundred runs by worst case", clock()
        page = store.results_page()
    for what in (
        "board built, nothing fetched before",
        "board built again",
        "board built again in another folder",
    ):
        site = folder / ("site" if "another" not in what else "other")
        with _timed() as clock:
            _build(address, site, folder / "cache")
        assert len(list((site / "entries").glob("*.html"))) == runs
        yield what, clock()
    print(
        f"the largest process took {resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.2f} GiB"
    )
    yield from _open(f"{address}/{page}")


def _build(address: str, site: Path, cache: Path) -> None:
    words = [sys.executable, "-m", "bench", "leaderboard", "build", "--quiet", "--tracking", address]
    root = Path(__file__).resolve().parents[2]
    variables = {**os.environ, "XDG_CACHE_HOME": str(cache), "PYTHONPATH": str(root)}
    subprocess.run([*words, "--out", str(site)], check=True, env=variables, stdout=subprocess.DEVNULL)


def _open(address: str) -> Iterator[tuple[str, float]]:
    """Open MLflow's results in Chromium, where both are installed."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page()
        with _timed() as clock:
            page.goto(address)
            page.locator('[role="row"] a[href*="/runs/"]').first.wait_for(timeout=120_000)
        yield "MLflow's page of results opened in Chromium", clock()
        browser.close()


def _write_runs(paths: list[Path], database: str, experiment: str, artifacts: Path) -> None:
    """Write finished runs as the server would have, without asking it."""
    engine = sqlalchemy.create_engine(database)
    schema = sqlalchemy.MetaData()
    schema.reflect(engine, only=["runs", "tags", "params", "metrics", "latest_metrics"])
    for start in range(0, len(paths), AT_ONCE):
        rows: dict[str, list[Mapping[str, Any]]] = {name: [] for name in schema.tables}
        for path in paths[start : start + AT_ONCE]:
            entry, run = read_record(path), uuid.uuid4().hex
            for name, more in _rows(entry, run, experiment).items():
                rows[name] += more
            place = artifacts / experiment / run / "artifacts"
            place.mkdir(parents=True)
            for name, file in entry.artifacts.items():
                (place / name).hardlink_to(file)
        with engine.begin() as connection:
            for name in ("runs", "tags", "params", "metrics", "latest_metrics"):
                connection.execute(schema.tables[name].insert(), rows[name])
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sqlalchemy.text("ANALYZE"))
    engine.dispose()


def _rows(entry: Entry, run: str, experiment: str) -> dict[str, list[Mapping[str, Any]]]:
    own = {"run_uuid": run}
    tags = {**entry.tags, "mlflow.runName": entry.name, "mlflow.user": "bench"}
    values: list[Mapping[str, Any]] = [
        {**own, "key": key, "value": float(value), "timestamp": entry.started, "step": 0, "is_nan": False}
        for key, value in entry.scores.items()
    ]
    return {
        "runs": [
            {
                **own,
                "name": entry.name,
                "experiment_id": int(experiment),
                "user_id": "bench",
                "status": entry.status,
                "start_time": entry.started,
                "end_time": entry.ended,
                "source_type": "LOCAL",
                "lifecycle_stage": "active",
                "artifact_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts",
            }
        ],
        "tags": [{**own, "key": key, "value": str(value)} for key, value in tags.items()],
        "params": [{**own, "key": key, "value": str(value)} for key, value in entry.params.items()],
        "metrics": values,
        "latest_metrics": values,
    }


@contextmanager
def _timed() -> Iterator[Any]:
    """The seconds that the block has taken, once it has ended."""
    started, ended = time.monotonic(), 0.0
    yield lambda: ended - started
    ended = time.monotonic()


if __name__ == "__main__":
    with stopping():  # servers and clusters end with this program
        main()
