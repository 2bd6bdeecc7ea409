"""`bench show`."""

from pathlib import Path

import click

from bench.cli.streams import results
from bench.cli.types import PATH


@click.command()
@click.argument("record", type=PATH)
def show(record: Path) -> None:
    """Print a record: scores with intervals, alarms, settings, cost."""
    from rich.console import Console

    from bench.core.record import load_record
    from bench.core.record_text import show_record

    show_record(load_record(record), Console(file=results(), highlight=False, emoji=False))
