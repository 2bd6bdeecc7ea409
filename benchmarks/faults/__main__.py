"""Provoke faults from outside, and count what went wrong.

python -m benchmarks.faults                          # every class, at full size; hours
python -m benchmarks.faults records --tries 20       # one class, a sample
python -m benchmarks.faults --json after.json --before before.json

To measure an earlier state, copy this folder into its checkout and run it there with `--json before.json`.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.cli.signals import stopping
from benchmarks.faults import CLASSES
from benchmarks.faults.command import Bench
from benchmarks.faults.trial import FaultClass


def main() -> None:
    """Print a row for each class; exit with 1 where anything went wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="CLASS", help=", ".join(sorted(CLASSES)))
    parser.add_argument("--tries", type=int, help="at most so many trials of each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--json", type=Path, help="write the counts and every fault to this file, after every trial"
    )
    parser.add_argument("--before", type=Path, help="counts of an earlier state, for a column of their own")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CLASSES):
        parser.error(f"no class {', '.join(sorted(unknown))}; there are {', '.join(sorted(CLASSES))}")
    before = json.loads(options.before.read_text()) if options.before else {}
    table = Table(title="Faults from outside")
    for heading in ("class", "tries", *(["before"] if before else []), "faults", "of which"):
        table.add_column(heading, justify="right" if heading in ("tries", "before", "faults") else "left")
    results = {}
    bench = Bench()
    for name in options.names or CLASSES:

        def keep(result: dict, name: str = name) -> None:
            results[name] = result
            if options.json:
                options.json.write_text(json.dumps(results, indent=1))

        result = provoke(bench, CLASSES[name], options.tries, options.seed, keep)
        earlier = before.get(name)
        said = f"{earlier['faulty']} of {earlier['tries']}" if earlier else "-"
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(result["kinds"].items()))
        row = [
            CLASSES[name].title,
            str(result["tries"]),
            *([said] if before else []),
            str(result["faulty"]),
            kinds,
        ]
        table.add_row(*row)
    Console().print(table)
    sys.exit(any(result["faulty"] for result in results.values()))


def provoke(
    bench: Bench,
    fault_class: FaultClass,
    tries: int | None,
    seed: int,
    keep: Callable[[dict], None] = lambda result: None,
) -> dict:
    """Run the trials of one class in a temporary folder; print each fault as it is found.

    `keep` is given the counts after every trial, so that those of an interrupted measurement are not lost.
    """
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        wanted = min(tries or fault_class.tries, fault_class.tries)
        faulty = 0
        kinds: Counter[str] = Counter()
        seen: list[str] = []
        result: dict[str, Any] = {"tries": 0, "faulty": 0, "kinds": {}, "seen": seen}
        for trial in fault_class.provoke(bench, Path(folder), wanted, random.Random(seed)):
            faulty += bool(trial.faults)
            kinds.update({fault.kind for fault in trial.faults})
            for fault in trial.faults:
                seen.append(f"{trial.what}: {fault.kind}: {fault.seen}")
                print(f"{fault_class.name}: {seen[-1]}", file=sys.stderr, flush=True)
            result |= {"tries": result["tries"] + 1, "faulty": faulty, "kinds": dict(kinds)}
            keep(result)
    return result


if __name__ == "__main__":
    with stopping():  # servers and clusters end with this program
        main()
