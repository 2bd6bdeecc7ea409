"""What pages say of each defense, from its own documentation."""

import re
from contextlib import suppress

from bench.core.errors import UserError
from defenses import DEFENSES, Defense, get
from leaderboards.card import Card


def defense_cards() -> dict[str, Card]:
    """The card of every built-in defense and plug-in by name, without those that fail to load."""
    found = {}
    for name in DEFENSES.names():
        with suppress(UserError):
            found[name] = make_card(get(name))
    return found


def make_card(defense: type[Defense]) -> Card:
    """Read a defense's first paragraph: one sentence, and in parentheses the paper with its arXiv number."""
    first = " ".join((defense.__doc__ or "").partition("\n\n")[0].split())
    summary, _, source = first.rstrip(".").partition(" (")
    number = re.search(r"arXiv (\d{4}\.\d{5})", source)
    link = f"https://arxiv.org/abs/{number[1]}" if number else ""
    return Card(defense.family, f"{summary.rstrip('.')}.", source.rstrip(")"), link)
