"""`bench sweep` as people call it."""

import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from bench.cli.main import cli
from bench.core.errors import UserError
from bench.core.files import write_json
from bench.core.progress import Progress
from bench.sweep import execution
from bench.sweep.cells import Board
from bench.sweep.leases import Leases
from bench.sweep.work import Worker, run_cell
from bench.tracking import NullTracker

SMALL: dict[str, Any] = {
    "defense": ["standard", "jacobian"],
    "seeds": [0, 1],
    "epochs": 2,
    "trials": 2,
    "train_size": 40,
    "test_size": 10,
    "metrics": ["clean_accuracy", "robust_accuracy/fgsm"],
    "tracking": "none",
}


def written(folder: Path, values: dict[str, Any]) -> str:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return str(path)


def call(*words: str) -> Result:
    return CliRunner().invoke(cli, ["sweep", *words], standalone_mode=False)


def weights(out: Path) -> dict[str, str]:
    return {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("weights.safetensors")
    }


def test_a_dry_run_shows_the_cells_and_their_cost_and_writes_nothing(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    result = call(file, "--out", str(tmp_path / "runs"), "--dry-run")
    lines = result.output.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["waiting"] * 5
    assert lines[0].endswith("search")
    assert lines[5] == "5 cells: 5 waiting"
    assert "of training left" in lines[6]
    assert not (tmp_path / "runs").exists()
    states = json.loads(call(file, "--out", str(tmp_path / "runs"), "--status", "--json").output)
    assert {state["state"] for state in states} == {"waiting"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--jobs", "0"), "--jobs: expected at least 1"),
        (("--gpus-per-cell", "0"), "--gpus-per-cell"),
        (("--retry", "-1"), "--retry"),
        (("--takeover-after", "0"), "--takeover-after"),
        (("--index", "2", "--count", "2"), "beyond"),
        (("--executor", "ray", "--index", "0", "--count", "2"), "Ray divides the cells itself"),
        (("--device", "x"), "device"),
        (("--executor", "slurm", "--sbatch", "partition=gpu"), "expected an option such as --partition=gpu"),
        (("--tracking", "foo://x"), "no store has the scheme foo://"),
        (("--tracking", "foo://x", "--jobs", "2"), "no store has the scheme foo://"),
        (("--sbatch", "--partition=gpu"), "--sbatch: expected --executor slurm beside it, got local"),
        (("--ray-address", "auto"), "--ray-address: expected --executor ray beside it, got local"),
        (("--executor", "ray", "--ray-address", "127.0.0.1:1"), "127.0.0.1:1 cannot be reached"),
        (("--executor", "ray", "--ray-address", "x"), "expected HOST:PORT or auto, got 'x'"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    file = written(tmp_path, {**SMALL, "defense": "standard"})
    result = call(file, "--out", str(tmp_path / "runs"), *words)
    assert message in str(result.exception)
    assert not (tmp_path / "runs").exists()


def test_a_folder_whose_locks_keep_nobody_out_is_refused_before_any_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcntl.flock", lambda descriptor, operation: None)
    result = call(written(tmp_path, SMALL), "--out", str(tmp_path / "runs"))
    assert isinstance(result.exception, UserError)
    assert "has locks that keep nobody out" in str(result.exception)
    assert not (tmp_path / "runs").exists()
    assert "waiting" in call(written(tmp_path, SMALL), "--out", str(tmp_path / "runs"), "--status").output


def test_locks_that_hold_on_one_machine_are_said_and_refused_for_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(execution, "local_locks", lambda folder: "nfs with nolock")
    monkeypatch.setattr(execution.Sweep, "work", lambda *_: None)
    file, out = written(tmp_path, {**SMALL, "defense": "standard"}), str(tmp_path / "runs")
    assert (
        "hold on one machine only (nfs with nolock); let no second machine" in call(file, "--out", out).stderr
    )
    refused = call(file, "--out", out, "--index", "0", "--count", "2")
    assert isinstance(refused.exception, UserError)
    assert "hold on one machine only (nfs with nolock), and several are meant" in str(refused.exception)


def test_a_part_of_a_job_array_ends_well_without_the_other_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "bench.sweep.execution.run_cell", lambda cell, *_: write_json(cell.result, {"trials": 0})
    )
    monkeypatch.setattr("bench.sweep.cells.finished_result", lambda *_: object())
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    file = written(tmp_path, {**SMALL, "defense": "standard"})
    result = call(file, "--out", str(tmp_path / "runs"), "--json")
    assert result.exception is None
    (path,) = json.loads(result.stdout)
    assert "seed-1" in path
    assert not (tmp_path / "runs" / "site").exists()


def test_a_thousand_runs_need_a_yes(tmp_path: Path) -> None:
    result = call(written(tmp_path, {**SMALL, "seeds": list(range(600))}))
    assert "1,200 runs; give --yes" in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--executor", "ray"), ("--jobs", "2")])
def test_what_other_processes_did_not_log_is_logged_at_the_end(
    words: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def do_without_logging(sweep: execution.Sweep, *_: Any, **__: Any) -> None:
        leases, quiet = Leases(sweep.out / execution.FOLDER), Progress()
        keys, board = {cell.key for cell in sweep.cells}, Board(sweep.cells, sweep.out, leases)
        Worker(
            sweep.cells, keys, board, leases, lambda cell: run_cell(cell, NullTracker(), quiet), quiet, {}
        ).work()

    monkeypatch.setattr(execution, "cluster", lambda *_: nullcontext())
    monkeypatch.setattr(execution.Sweep, "run_on_ray", do_without_logging)
    monkeypatch.setattr(execution.Sweep, "manage", do_without_logging)
    store = tmp_path / "mlflow.db"
    tracking = ("--tracking", f"sqlite:///{store}")
    file = written(tmp_path, {**SMALL, "defense": "standard", "trials": 0})
    assert call(file, *words, "--out", str(tmp_path / "runs"), *tracking).exception is None
    with closing(sqlite3.connect(store)) as database:
        statuses = database.execute("SELECT status FROM runs").fetchall()
        finals = database.execute(
            "SELECT COUNT(*) FROM tags WHERE key = 'role' AND value = 'final'"
        ).fetchone()
    assert set(statuses) == {("FINISHED",)}
    assert finals == (2,)


@pytest.mark.slow
@pytest.mark.long
def test_killed_workers_and_two_calls_at_once_give_the_results_of_one_process(tmp_path: Path) -> None:
    file = written(tmp_path, SMALL)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "bench", "sweep", file, "--quiet", "--json"]
    alone = subprocess.run(
        [*start, "--out", str(tmp_path / "alone")],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    many = [
        subprocess.Popen(
            [*start, "--out", str(tmp_path / "many"), "--jobs", "2"],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    killed = set()
    while any(process.poll() is None for process in many):
        for lease in (tmp_path / "many" / ".sweep").glob("*.lease"):
            if lease.name.partition(".")[0] not in killed and len(killed) < 2:
                try:
                    holder = json.loads(lease.read_text())
                except (OSError, ValueError):
                    continue
                if holder["state"] == "held":
                    killed.add(lease.name.partition(".")[0])
                    os.kill(holder["pid"], signal.SIGKILL)
        time.sleep(0.05)
    outputs = [process.communicate()[0] for process in many]
    assert [process.returncode for process in many] == [0, 0]
    assert len(killed) == 2
    assert [len(json.loads(output)) for output in (alone.stdout, *outputs)] == [4, 4, 4]
    assert len(weights(tmp_path / "alone")) == 4
    assert weights(tmp_path / "alone") == weights(tmp_path / "many")
    assert (tmp_path / "many" / "site" / "index.html").is_file()


@pytest.mark.slow
def test_what_fails_is_listed_and_the_exit_code_says_so(tmp_path: Path) -> None:
    file = written(
        tmp_path,
        {
            **SMALL,
            "defense": ["standard", "at"],
            "seeds": [0],
            "override": [{"when": {"defense": "standard"}, "recipe": "paper,optimizer=sgd,lr=10"}],
            "trials": 0,
        },
    )
    done = subprocess.run(
        [sys.executable, "-m", "bench", "sweep", file, "--out", str(tmp_path / "runs")],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout.count("record.json") == 1
    assert "failed: digits cnn6 standard linf:0.2 seed 0: training with seed 0 failed" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.long
def test_a_node_of_ray_that_dies_loses_nothing(tmp_path: Path) -> None:
    ray_cluster = pytest.importorskip("ray.cluster_utils")
    file = written(tmp_path, {**SMALL, "defense": "jacobian", "trials": 0, "seeds": [0, 1, 2, 3]})
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    start = [sys.executable, "-m", "bench", "sweep", file, "--quiet", "--json"]
    subprocess.run(
        [*start, "--out", str(tmp_path / "alone")], env=environment, capture_output=True, check=True
    )
    cluster = ray_cluster.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    try:
        node = cluster.add_node(num_cpus=1)
        out = tmp_path / "many"
        sweep = subprocess.Popen(
            [*start, "--out", str(out), "--executor", "ray", "--ray-address", cluster.address],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        while len(list((out / ".sweep").glob("*.lease"))) < 2:
            assert sweep.poll() is None
            time.sleep(0.05)
        cluster.remove_node(node, allow_graceful=False)
        output, _ = sweep.communicate(timeout=300)
    finally:
        cluster.shutdown()
    assert sweep.returncode == 0
    assert len(json.loads(output)) == 4
    assert weights(tmp_path / "alone") == weights(out)
