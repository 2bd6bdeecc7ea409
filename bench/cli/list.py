"""`bench list`."""

import click

from bench.cli.streams import print_result


@click.command("list")
@click.argument(
    "kind", type=click.Choice(["defenses", "models", "datasets", "metrics", "attacks", "batteries"])
)
def list_parts(kind: str) -> None:
    """List what is available, with hyper-parameters and search ranges for defenses."""
    from bench.cli.catalog import describe

    print_result(describe(kind))
