"""What the Atom feed of a site says: its newest entries."""

import re
from collections.abc import Sequence
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from leaderboards.board import Board

#: Most entries of the feed.
MOST = 50
#: What no XML file may hold besides control characters.
_NO_XML = re.compile("[\ufffe\uffff]")


def make_feed(boards: Sequence[Board]) -> dict[str, Any]:
    """The feed's id, which stays while entries are added, and its entries, the newest first; {} without any."""
    items = [
        {"entry": entry, "board": board, "id": _urn(entry.page), "updated": entry.updated.isoformat()}
        for board in boards
        for entry in board.entries
        if entry.worst_case
    ]
    items.sort(key=lambda item: (item["updated"], item["id"]), reverse=True)
    return {"id": _urn(f"feed {items[-1]['id']}"), "items": items[:MOST]} if items else {}


def as_xml(content: str) -> str:
    """Content without characters that XML forbids."""
    return _NO_XML.sub("\N{REPLACEMENT CHARACTER}", content)


def _urn(name: str) -> str:
    return uuid5(NAMESPACE_URL, f"regionbench:{name}").urn
