"""One sweep in several ways: which fields of a record say what, and a small one."""

import json
from pathlib import Path

import pytest

from benchmarks.sweeps.__main__ import main
from benchmarks.sweeps.ways import records


def test_times_are_left_out_of_records_and_results_are_not(tmp_path: Path) -> None:
    path = tmp_path / "run" / "seed-0" / "quick" / "record.json"
    path.parent.mkdir(parents=True)
    record = {
        "id": "1",
        "metrics": {"clean_accuracy": {"value": 0.5}},
        "history": [{"epoch": 1, "seconds": 2.0}],
        "cost": {"evaluate_seconds": 1.0, "forwards": 3},
        "provenance": {"created": "now", "command": "bench run"},
    }
    path.write_text(json.dumps(record))
    assert records(tmp_path) == {
        "run/seed-0/quick/record.json": {
            "metrics.clean_accuracy.value": 0.5,
            "history.0.epoch": 1,
            "cost.forwards": 3,
            "provenance.command": "bench run",
        }
    }


@pytest.mark.slow
@pytest.mark.long
def test_a_small_sweep_gives_the_same_records_in_every_way() -> None:
    assert main(["--seeds", "1", "local", "slurm", "folder"]) == 0
