"""The paper that describes how the networks of an entry were trained."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.core.values import is_link
from leaderboards.card import Card
from leaderboards.entry import Entry


@dataclass(frozen=True)
class Paper:
    """What a paper is called in a row, and an http(s) address of it; "" where none is known."""

    words: str
    link: str


def paper_of(entry: Entry, cards: Mapping[str, Card]) -> Paper | None:
    """The paper that a submitter named, else that of the defense; None where neither is known.

    Args:
        cards: defense → what is known of it.
    """
    stated = entry.record.provenance.config.get("paper")
    if isinstance(stated, str) and is_link(stated):
        return Paper(stated.partition("://")[2].rstrip("/"), stated)
    card = cards.get(entry.defense.name)
    return Paper(card.source.partition(", ")[0], card.link) if card and card.source else None
