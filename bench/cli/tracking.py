"""`bench ui` and `bench track`."""

from pathlib import Path

import click

from bench.cli.streams import print_note
from bench.cli.types import HOST, PATH, PORT, TEXT
from bench.core.errors import UserError


@click.command()
@click.option("--tracking", type=TEXT, metavar="URI", help="MLflow tracking URI.  [default: mlflow.yaml]")
@click.option("--host", type=HOST, default="127.0.0.1", show_default=True)
@click.option("--port", type=PORT, default=5000, show_default=True)
def ui(tracking: str | None, host: str, port: int) -> None:
    """Open the MLflow UI on the store that runs are logged to."""
    from bench.tracking import load_settings, serve_ui

    settings = load_settings(tracking)
    if settings is None:
        raise UserError("--tracking none has no UI")
    serve_ui(settings, host, port, print_note)


@click.command()
@click.argument("records", nargs=-1, required=True, type=PATH)
@click.option("--tracking", type=TEXT, metavar="URI", help="MLflow tracking URI.  [default: mlflow.yaml]")
def track(records: tuple[Path, ...], tracking: str | None) -> None:
    """Log records or whole run folders to MLflow that were made without it; nothing is logged twice."""
    from bench.tracking import load_settings, track_records

    settings = load_settings(tracking)
    if settings is None:
        raise UserError("--tracking none logs nothing")
    track_records(list(records), settings, print_note)
