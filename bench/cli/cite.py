"""`bench cite`."""

from pathlib import Path

import click

from bench.cli.streams import print_result
from bench.cli.types import PATH


@click.command()
@click.argument("record", type=PATH)
def cite(record: Path) -> None:
    """Print BibTeX entries of a record's battery, the attacks and metrics that ran, and its defense."""
    from bench.core.record import load_record
    from bench.results.cite import cite as entries_of

    print_result(entries_of(load_record(record)), nl=False)
