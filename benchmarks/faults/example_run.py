"""A real run folder to damage: a small network on the digits, trained for one epoch."""

import shutil
from pathlib import Path

from benchmarks.faults.command import Bench


def make_run(bench: Bench, folder: Path) -> Path:
    """Make the run below a folder, and give the folder of its record."""
    place = folder / "example"
    place.mkdir()
    size = ("--train-size", "64", "--test-size", "12", "--epochs", "1", "--trials", "0")
    line = ("run", "--defense", "standard", "--dataset", "digits", "--battery", "quick", "--device", "cpu")
    made = bench(
        *line, *size, "--tracking", "none", "--quiet", folder=place, cpu_seconds=600, wall_seconds=900
    )
    if made.code != 0:
        raise RuntimeError(f"no run to damage: {made.text}")
    (record,) = place.glob("runs/*/seed-0/*/record.json")
    good = folder / "good"
    shutil.copytree(record.parent, good)
    return good
