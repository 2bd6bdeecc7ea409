"""Cells as tasks of Ray: how many tasks share a search, and one that is shared."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench.core.errors import UserError
from bench.sweep import on_ray
from bench.sweep.on_ray import _connect, _crowd, _places


def search(key: str, trials: int, storage: str | None = "study.journal") -> Any:
    return SimpleNamespace(key=key, kind="search", job=SimpleNamespace(storage=storage, trials=trials))


def test_searches_with_a_shared_storage_fill_the_cluster_together() -> None:
    alone, sqlite = search("a", 9, None), search("b", 9, "sqlite:///study.db")
    assert _crowd([alone, sqlite], 8) == {}
    assert _crowd([search("c", 3), alone], 8) == {"c": 3}
    assert _crowd([search("c", 9), search("d", 9)], 8) == {"c": 4, "d": 4}
    assert _crowd([search(str(number), 9) for number in range(20)], 8) == {str(n): 1 for n in range(20)}
    assert _places({"CPU": 8.0}, 0) == 8
    assert _places({"CPU": 8.0, "GPU": 2.0}, 0.5) == 4


@pytest.mark.parametrize(
    ("printed", "raised", "message"),
    [
        (
            "W gcs_client.cc:210: Unauthenticated: RPC error: InvalidAuthToken: Authentication token is missing",
            "Failed to connect to Ray cluster at 127.0.0.1:1",
            "^the Ray cluster at auto lets nobody in without its token; set RAY_AUTH_MODE=token here, and RAY_AUTH",
        ),
        (
            "W something",
            "Version\nmismatch",
            r"^the Ray cluster at auto cannot be used \(Version mismatch\); is it",
        ),
    ],
)
def test_what_ray_prints_while_it_connects_becomes_one_line(
    printed: str, raised: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    def init(**_: Any) -> None:
        os.write(2, f"{printed}\n".encode() * 20)  # as its libraries do
        raise ConnectionError(raised)

    with pytest.raises(UserError, match=message):
        _connect(SimpleNamespace(init=init), "auto", 1)
    assert capfd.readouterr() == ("", "")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


LISTENING = """
from bench.sweep.on_ray import cluster

with cluster(None, 1) as ray:
    import psutil  # which Ray brings along

    ray.get(ray.remote(lambda: 1).remote())
    processes = psutil.Process().children(recursive=True)
    sockets = [socket for process in processes for socket in process.net_connections("tcp")]
    print(*{socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN})
"""


@pytest.mark.slow
@pytest.mark.long
def test_a_cluster_that_is_started_here_listens_on_loopback_alone() -> None:
    pytest.importorskip("ray")
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", LISTENING], env=variables, capture_output=True, text=True, check=False
    )
    assert done.stdout, done.stderr
    assert {address.removeprefix("::ffff:") for address in done.stdout.split()} == {"127.0.0.1"}


def test_a_cluster_that_is_started_here_has_a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    seen = []
    ray = SimpleNamespace(init=lambda **_: seen.append(dict(os.environ)), shutdown=lambda: None)
    monkeypatch.setattr(on_ray, "_load", lambda: ray)
    with on_ray.cluster(None, 1):
        pass
    assert seen[0]["RAY_AUTH_MODE"] == "token"
    assert len(seen[0]["RAY_AUTH_TOKEN"]) == 64
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    with on_ray.cluster(None, 1):
        pass
    assert seen[1]["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN" not in seen[1]


def test_a_busy_machine_on_which_ray_does_not_start_is_one_line() -> None:
    def init(**_: Any) -> None:
        raise RuntimeError("The current node\ntimed out")

    with pytest.raises(
        UserError, match=r"^Ray cannot start here \(The current node timed out\); is the machine"
    ):
        _connect(SimpleNamespace(init=init), None, 1)


@pytest.mark.slow
@pytest.mark.long
def test_a_cluster_with_another_token_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "sweep.yaml").write_text("defense: standard\nepochs: 1\ntracking: none\n")
    variables = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    options = ["--port", str(port), "--num-cpus", "1", "--include-dashboard", "false", "--block"]
    with (tmp_path / "head.log").open("w") as log:
        head = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", *options],
            env={**variables, "RAY_AUTH_TOKEN": "a" * 64},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while "runtime started" not in (tmp_path / "head.log").read_text():
            assert head.poll() is None, (tmp_path / "head.log").read_text()
            time.sleep(0.2)
        words = ["sweep", "sweep.yaml", "--executor", "ray", "--ray-address", f"127.0.0.1:{port}"]
        refused = subprocess.run(
            [sys.executable, "-m", "bench", *words],
            cwd=tmp_path,
            env={**variables, "RAY_AUTH_TOKEN": "b" * 64, "PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        os.killpg(head.pid, signal.SIGTERM)
        head.wait()
    assert refused.returncode == 2
    assert refused.stderr.splitlines() == [
        f"Error: the Ray cluster at 127.0.0.1:{port} lets nobody in without its token; set RAY_AUTH_MODE=token "
        f"here, and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to that of the cluster"
    ]


@pytest.mark.slow
@pytest.mark.long
def test_tasks_share_a_search_and_each_trial_is_done_once(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    values = {"defense": "jacobian", "seeds": [0, 1], "epochs": 2, "trials": 4, "train_size": 40}
    values |= {"test_size": 10, "metrics": ["clean_accuracy"], "storage": str(tmp_path / "study.journal")}
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump({**values, "tracking": "none"}))
    words = ["sweep", str(tmp_path / "sweep.yaml"), "--out", str(tmp_path / "runs"), "--json", "--quiet"]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--executor", "ray", "--jobs", "2"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 2
    trials = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/trials/*/trial.json")]
    assert sorted(trial["number"] for trial in trials) == [0, 1, 2, 3]
    assert {trial["state"] for trial in trials} <= {"COMPLETE", "PRUNED"}
