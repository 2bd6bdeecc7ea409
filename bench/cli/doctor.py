"""`bench doctor`."""

from pathlib import Path

import click

from bench.cli.streams import print_result
from bench.cli.types import FOLDER, TEXT


@click.command()
@click.option(
    "--data-dir",
    type=FOLDER,
    default=Path("data"),
    show_default=True,
    help="Where data sets are looked for.",
)
@click.option("--tracking", type=TEXT, metavar="URI", help="MLflow tracking URI to try.")
def doctor(data_dir: Path, tracking: str | None) -> None:
    """Say what works on this machine: device, data, tracking, versions."""
    from bench.cli.diagnosis import examine
    from bench.tracking import load_settings

    if tracking is not None:
        load_settings(tracking)  # refuses what is no store at all
    for line in examine(data_dir, tracking):
        print_result(line)
