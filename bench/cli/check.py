"""`bench check`."""

import os
import traceback
from pathlib import Path

import click

from bench.cli.streams import print_line
from bench.cli.types import FOLDER, WORD


@click.command()
@click.argument("thing", metavar="MODULE:THING", type=WORD)
@click.option(
    "--data-dir", type=FOLDER, help="Folder that the loader of a data set is given.  [default: data]"
)
@click.option(
    "--dataset",
    type=WORD,
    metavar="NAME",
    help="What a network is made for that fits one kind of images alone.  [default: digits]",
)
def check(thing: str, data_dir: Path | None, dataset: str | None) -> None:
    """Run the contract suite on a defense, metric, network or data set of your own, on toy data.

    One line for each promise that training, evaluation and resuming rely on. Exit code 0: all are kept. 1: one is
    broken. 2: there is nothing to check.
    """
    from bench.testing.contract import find, run_checks

    subject = find(thing, data_dir, dataset)
    print_line(f"{thing} is a {subject.kind}; {len(subject.checks)} checks:")
    broken = 0
    for outcome in run_checks(subject):
        broken += bool(outcome.problem)
        if outcome.error is not None and os.environ.get("BENCH_TRACEBACK"):
            traceback.print_exception(outcome.error)
        print_line(f"{'BROKEN' if outcome.problem else 'ok':<6}  {outcome.promise}")
        if outcome.problem:
            print_line(f"        {outcome.problem}")
    kept = len(subject.checks) - broken
    print_line(f"{kept} of {len(subject.checks)} are kept; see docs/plugins.md")
    if broken:
        raise SystemExit(1)
