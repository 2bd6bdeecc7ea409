"""Cells as tasks of Ray: how many tasks share a search, and one that is shared."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from bench.sweep.on_ray import _crowd, _places


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
