"""`bench compare`."""

from pathlib import Path

import click

from bench.cli.streams import print_json, print_line, print_note, print_result
from bench.cli.types import PATH_OR_URL


@click.command()
@click.argument("a", type=PATH_OR_URL)
@click.argument("b", type=PATH_OR_URL)
@click.option(
    "--unpaired",
    is_flag=True,
    help="Compare intervals where test images, battery version or kept outcomes allow no paired test.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON, nothing else.")
def compare(a: Path | str, b: Path | str, unpaired: bool, as_json: bool) -> None:
    """Say which of two results is more robust, by a paired test on the same images, or that neither is.

    A and B are records, folders of records (several seeds of one training belong together), or boards: a folder
    with many entries, or a board's JSON export; each a path or a URL, such as s3://bucket/runs.
    """
    from bench.core.remote import local_copy
    from bench.results.compare import compare_paths

    comparisons, notes = compare_paths(
        local_copy(a, print_note), local_copy(b, print_note), unpaired=unpaired
    )
    if as_json:
        found = {"comparisons": [each.as_json() for each in comparisons], "notes": notes}
        print_json(found)
        return
    for number, each in enumerate(comparisons):
        if number:
            print_result("")
        print_line(f"A  {each.a.name}")
        print_line(f"B  {each.b.name}")
        print_result("")
        for row in each.rows:
            print_line(row.verdict)
        for note in each.notes:
            print_line(f"note: {note}")
    for note in notes:
        print_line(f"note: {note}")
