"""Everything that is timed beside something else, in one table.

python -m benchmarks.speed                                # all of it; an hour of a quiet core
python -m benchmarks.speed training --networks cnn6       # some parts, one network
python -m benchmarks.speed attacks --data imagefolder:PATH --json rows.json

Before two ways are timed, what they compute is compared, and the run ends where it differs. Each round takes ours,
the peer and ours again, in one process on one thread. A ratio is one of CPU seconds, which a busy machine disturbs
less than the clock; where our own time changed by 10 % or more within rounds, the row says that the machine was
busy. Peers that are packages are installed in environments of their own in `--folder`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.speed import attacks, defenses, geometry, long_pgd, overhead, training
from benchmarks.speed.rows import Row, table

PARTS = ("training", "defenses", "attacks", "autoattack", "long-pgd", "geometry", "overhead")


def main() -> None:
    """Print each row as it is measured, and the table at the end."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--networks", nargs="*", default=list(training.NETWORKS), choices=training.NETWORKS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="geometry of the sizes of a paper")
    parser.add_argument("--data", default="digits", help="to attack; as `bench run --dataset`, ten classes")
    parser.add_argument("--folder", type=Path, default=Path(".peers"), help="for environments and weights")
    parser.add_argument("--json", type=Path, help="also write the rows there, after each")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"expected of {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    found: list[Row] = []
    for part in options.parts or PARTS:
        for row in rows(part, options):
            found.append(row)
            print(f"{row.work}, beside {row.peer}: {row.ratio:.2f}", file=sys.stderr, flush=True)
            if options.json:
                options.json.write_text(json.dumps([asdict(each) for each in found], indent=1))
    Console(width=220).print(table(found))
    if "overhead" in (options.parts or PARTS):
        print(f"bench --help: {overhead.help_seconds(5):.2f} s on the clock, the least of five")


def rows(part: str, options: argparse.Namespace) -> Iterator[Row]:
    """The rows of one part."""
    networks, rounds = options.networks, options.rounds
    attacked = attacks.Options(
        tuple(name for name in networks if name in attacks.SIZES), options.data, options.folder, rounds
    )
    match part:
        case "training":
            return training.rows(networks, rounds)
        case "defenses":
            return defenses.rows(networks, rounds)
        case "attacks":
            return attacks.rows(attacked)
        case "autoattack":
            return attacks.autoattack_rows(attacked)
        case "long-pgd":
            return long_pgd.rows(rounds)
        case "geometry":
            return geometry.rows(rounds, options.full)
        case _:
            return overhead.rows(rounds)


if __name__ == "__main__":
    main()
