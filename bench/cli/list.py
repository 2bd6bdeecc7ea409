"""`bench list`."""

import click

from bench.cli.catalog import KINDS
from bench.cli.streams import print_result
from bench.cli.types import WORD


@click.command("list")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.argument("name", type=WORD, required=False)
def list_parts(kind: str, name: str | None = None) -> None:
    """List what is available, one line a name; with NAME, print everything about one.

    A card says what a part does, its options with defaults and ranges, its cost, and its paper. NAME may also be a
    module:Thing of your own, or a composition of defenses.
    """
    if name is None:
        from bench.cli.catalog import describe

        print_result(describe(kind))
        return
    from bench.cli.cards import card

    print_result(card(kind, name))
