"""Do a sweep in four ways, compare the records, and set the time beside the ideal.

python -m benchmarks.sweeps                     # 24 cells; some minutes
python -m benchmarks.sweeps --seeds 1 local     # fewer cells, one way

The ideal is the time of the cells in one process, divided by the processes. What kills do to sweeps is measured by
`python -m benchmarks.faults sweep-trainer sweep-worker …`.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.cli.signals import stopping
from benchmarks.sweeps.ways import WAYS, Sweep, alone, records

SWEEP = """dataset: digits
defense: [standard, at, prs, jacobian]
model: [cnn6, lenet]
seeds: [{seeds}]
epochs: 3
trials: 0
train_size: 300
test_size: 60
metrics: [clean_accuracy, robust_accuracy/pgd20]
"""


def main(words: Sequence[str] | None = None) -> int:
    """Print a row for each way; 1 where a record differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ways", nargs="*", metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--seeds", type=int, default=3, help="of each of the eight trainings")
    options = parser.parse_args(words)
    if unknown := set(options.ways) - set(WAYS):
        parser.error(f"no way {', '.join(sorted(unknown))}; there are {', '.join(WAYS)}")
    table = Table(title="One sweep, done in several ways")
    for heading in ("way", "processes", "records", "that differ", "wall", "ideal", "wall / ideal"):
        table.add_column(heading, justify="left" if heading == "way" else "right")
    worst = 0
    with tempfile.TemporaryDirectory(prefix="sweeps-") as folder:
        file = Path(folder) / "sweep.yaml"
        file.write_text(SWEEP.format(seeds=", ".join(map(str, range(options.seeds)))))
        sweep = Sweep(file, Path(folder))
        seconds = alone(sweep)
        expected = records(Path(folder) / "alone")
        for name in options.ways or WAYS:
            do, processes = WAYS[name]
            started = time.monotonic()
            do(sweep)
            wall, ideal = time.monotonic() - started, sum(seconds) / min(processes, os.cpu_count() or 1)
            found = records(Path(folder) / name)
            differ = _differences(expected, found)
            worst = max(worst, len(differ))
            for line in differ:
                print(f"{name}: {line}", file=sys.stderr, flush=True)
            ratio = f"{wall / ideal:.2f}"
            counts = [str(processes), str(len(found)), str(len(differ))]
            table.add_row(name, *counts, f"{wall:.0f} s", f"{ideal:.0f} s", ratio)
    Console().print(f"{len(seconds)} cells, {sum(seconds):.0f} s one after another")
    Console().print(table)
    return int(worst > 0)


def _differences(expected: dict, found: dict) -> list[str]:
    lines = [
        f"{path} is {'missing' if path in expected else 'new'}" for path in expected.keys() ^ found.keys()
    ]
    for path in expected.keys() & found.keys():
        fields = {
            field
            for field in expected[path].keys() | found[path].keys()
            if expected[path].get(field) != found[path].get(field)
        }
        if fields:
            lines.append(f"{path}: {', '.join(sorted(fields)[:5])}")
    return lines


if __name__ == "__main__":
    with stopping():  # servers and clusters end with this program
        sys.exit(main())
