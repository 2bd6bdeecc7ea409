"""`bench show`."""

from pathlib import Path

import click

from bench.cli.streams import results
from bench.cli.types import PATH

#: Columns of a terminal below which the usual number is taken.
NARROWEST, USUAL = 20, 80


@click.command()
@click.argument("record", type=PATH)
def show(record: Path) -> None:
    """Print a record: scores with intervals, alarms, settings, cost."""
    from rich.console import Console

    from bench.core.record import load_record
    from bench.core.record_text import show_record

    console = Console(file=results(), highlight=False, emoji=False)
    if console.width < NARROWEST:  # COLUMNS=0 says that nobody knows
        console.width = USUAL
    show_record(load_record(record), console)
