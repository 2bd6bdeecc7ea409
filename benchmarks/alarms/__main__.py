"""Measure the zoo, and print what the alarms are worth."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.core.files import write_text
from bench.core.progress import Progress
from benchmarks.alarms.cases import cases
from benchmarks.alarms.held_out import held_out
from benchmarks.alarms.honest import Case, honest
from benchmarks.alarms.measure import Row, is_kept, measure
from benchmarks.alarms.report import markdown, summary

#: Where the tables go, and the marks around them.
PAGE = Path(__file__).resolve().parents[2] / "docs" / "alarms.md"
BEGIN, END = "<!-- alarms: begin -->", "<!-- alarms: end -->"


def main() -> None:
    """Run the command; see `python -m benchmarks.alarms --help`."""
    parser = argparse.ArgumentParser(description="Sensitivity and false-alarm rate of the alarms.")
    parser.add_argument("--only", default="", help="measure networks whose name holds this")
    parser.add_argument("--kind", choices=("hidden", "honest"), help="one half of the zoo")
    parser.add_argument(
        "--part", choices=("chosen", "held-out"), help="those that limits were chosen on, or others"
    )
    parser.add_argument("--json", action="store_true", help="every number as JSON")
    parser.add_argument("--kept", action="store_true", help="only what has been measured before")
    parser.add_argument("--docs", action="store_true", help="write the tables into docs/alarms.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    chosen = [case for case in every() if given.only in case.name]
    chosen = [case for case in chosen if not given.kind or case.honest == (given.kind == "honest")]
    chosen = [case for case in chosen if not given.part or case.held_out == (given.part == "held-out")]
    if given.kept:
        chosen = [case for case in chosen if is_kept(case)]
    rows = []
    for number, case in enumerate(chosen, start=1):
        started = time.perf_counter()
        row = measure(case, Progress())
        rows.append(row)
        print(
            f"{number}/{len(chosen)} {case.name}: worst case {row.before:.3f}, after checks {row.after:.3f}, "
            f"truth {row.truth:.3f}; {', '.join(row.raised) or row.refused or 'no alarm'}; "
            f"{time.perf_counter() - started:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    if given.docs:
        write_tables(rows)
    if given.json:
        parts = {title: summary(some) for title, some in _parts(rows)}
        print(json.dumps({"summary": parts, "rows": [row.as_dict() for row in rows]}, indent=1))
    else:
        print(_tables(rows))


def write_tables(rows: list[Row]) -> None:
    """Put the tables between the marks in the documentation."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    write_text(PAGE, f"{before}{BEGIN}\n{_tables(rows)}\n{END}{after}")


def _tables(rows: list[Row]) -> str:
    return "\n\n".join(f"### {title}\n\n{markdown(some)}" for title, some in _parts(rows))


def _parts(rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """The two parts of the zoo that were measured, each with its title."""
    for title, held in (("The zoo", False), ("Held-out networks", True)):
        some = [row for row in rows if row.held_out == held]
        if some:
            yield title, some


def every() -> list[Case]:
    """The whole zoo, then the held-out networks."""
    return [*cases(), *honest(), *held_out()]


if __name__ == "__main__":
    main()
