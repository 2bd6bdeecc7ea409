"""`bench list`."""

import click


@click.command("list")
@click.argument(
    "kind", type=click.Choice(["defenses", "models", "datasets", "metrics", "attacks", "batteries"])
)
def list_parts(kind: str) -> None:
    """List what is available, with hyper-parameters and search ranges for defenses."""
    from bench.cli.catalog import describe

    click.echo(describe(kind))
