"""The paper that describes how the networks of an entry were trained."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bench.core.values import is_link
from leaderboards.card import Card
from leaderboards.entry import Entry


@dataclass(frozen=True)
class Paper:
    """What a paper is called in a row, and an http(s) address of it; "" where none is known."""

    words: str
    link: str


def papers_of(entries: Iterable[Entry], cards: Mapping[str, Card]) -> dict[str, Paper]:
    """Entry page → the paper that its submitter named, else that of its defense, where either is known.

    Args:
        cards: defense → what is known of it.
    """
    return {entry.page: paper for entry in entries if (paper := _paper_of(entry, cards))}


def _paper_of(entry: Entry, cards: Mapping[str, Card]) -> Paper | None:
    stated = entry.record.provenance.config.get("paper")
    if isinstance(stated, str) and is_link(stated):
        return Paper(stated.partition("://")[2].rstrip("/"), stated)
    card = cards.get(entry.defense.name)
    return Paper(card.source.partition(", ")[0], card.link) if card and card.source else None
