"""What pages say of each defense, from its own documentation."""

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from bench.core.docstrings import first_paragraph, literal_at, summary_at
from bench.core.errors import UserError
from defenses import DEFENSES, get
from leaderboards.card import Card

if TYPE_CHECKING:
    from defenses import Defense


def defense_cards() -> dict[str, Card]:
    """The card of every built-in defense and plug-in by name, without those that fail to load.

    Those of built-in defenses are read from their sources, so that pages can be drawn without torch.
    """
    found = {}
    for name in DEFENSES.names():
        with suppress(UserError):
            place = DEFENSES.place(name)
            if place:
                found[name] = _card(literal_at(place, "family"), summary_at(place))
            else:
                found[name] = _card_of_parts(name) or make_card(get(name))
    return found


def make_card(defense: "type[Defense]") -> Card:
    """Read a defense's first paragraph: one sentence, and in parentheses the paper with its arXiv number."""
    return _card(defense.family, first_paragraph(defense.__doc__))


def _card(family: str, paragraph: str) -> Card:
    summary, _, source = paragraph.rstrip(".").partition(" (")
    number = re.search(r"arXiv (\d{4}\.\d{5})", source)
    link = f"https://arxiv.org/abs/{number[1]}" if number else ""
    return Card(family, f"{summary.rstrip('.')}.", source.rstrip(")"), link)


def _card_of_parts(name: str) -> Card | None:
    """The card of a composition of ours, in the words of its class; None for every other defense."""
    if DEFENSES.origin(name) != "built in":
        return None
    if inner := re.fullmatch(r"awp\((.+)\)", name):
        place = "defenses.awp:AWP"
        words = f"AWP around {inner[1]}: its loss at worst weights nearby (Wu et al. 2020, arXiv 2004.05884)."
    else:
        place = "defenses.sum:Sum"
        words = f"The sum of the losses of {' and '.join(name.split('+'))}."
    return _card(literal_at(place, "family"), words)
