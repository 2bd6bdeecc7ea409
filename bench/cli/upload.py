"""`bench upload`."""

from pathlib import Path

import click

from bench.cli.streams import print_note
from bench.cli.types import PATH, TEXT


@click.command()
@click.argument("records", type=PATH)
@click.argument("url", type=TEXT)
def upload(records: Path, url: str) -> None:
    """Copy finished records to an object store, such as s3://bucket/runs; what is there already is not sent again.

    RECORDS is a folder of runs, or a record. With each record go the files that it vouches for and its figures, and
    the record itself comes last. Boards are built from there with `bench leaderboard build --records s3://bucket/runs`.
    Credentials come from the environment.
    """
    from bench.core.errors import UserError
    from bench.core.values import is_url
    from bench.results.upload import upload_records

    if not is_url(url):
        raise UserError(f"expected a URL such as s3://bucket/runs, got {url}")
    upload_records(records, url, print_note)
