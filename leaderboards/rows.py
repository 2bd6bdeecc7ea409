"""What scripts need of a board: the values by which a row is sorted, searched and compared."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from leaderboards.board import Board
from leaderboards.columns import Column
from leaderboards.entry import Entry
from leaderboards.packing import packed
from leaderboards.paper import Paper
from leaderboards.rank import Rank

#: Scripts find a board's data under this name.
VARIABLE = "regionbench_board"

#: Words for whether an entry was trained on more than the training images.
EXTRA_DATA = {True: "used", False: "none", None: "not stated"}


@dataclass(frozen=True)
class Facet:
    """A property that readers filter by: its values, each with the number of entries."""

    key: str
    title: str
    values: list[tuple[str, int]]


def facets(board: Board, families: Mapping[str, str]) -> list[Facet]:
    """The properties in which the entries of a board differ.

    Args:
        families: defense → its family.
    """
    found = []
    for key, (title, read) in _facets(families).items():
        counts = Counter(map(read, board.entries))
        if len(counts) > 1 or key in ("family", "network"):
            found.append(Facet(key, title, sorted(counts.items(), key=lambda item: _natural(item[0]))))
    return found


def family_of(entry: Entry, families: Mapping[str, str]) -> str:
    """The family of an entry's defense."""
    name = entry.defense.name
    return families.get(name, "composition" if "+" in name or "(" in name else "other")


def board_script(board: Board, families: Mapping[str, str], papers: Mapping[str, Paper]) -> str:
    """A board's data as a script, so that pages read it from a folder too, where browsers fetch nothing.

    Args:
        families: defense → its family.
        papers: entry page → the paper of its method.
    """
    columns = (*board.main_columns, *board.more_columns)
    rows = [
        _row(board, entry, rank, columns, families) | _paper(papers.get(entry.page))
        for entry, rank in zip(board.entries, board.ranks, strict=True)
    ]
    data = {
        "page": board.page,
        "title": board.title,
        "n": board.n,
        "reach": board.reach,
        "keys": [column.metric for column in columns],
        "rows": rows,
    }
    return f"window.{VARIABLE} = {as_script(data)};\n"


def as_script(value: Any) -> str:
    """A value as JSON that is a JavaScript expression too."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False)


def digits(entry: Entry) -> str:
    """What names an entry in an address: the digits at the end of its page's name."""
    return entry.page.rpartition("-")[2]


def _row(
    board: Board, entry: Entry, rank: Rank, columns: tuple[Column, ...], families: Mapping[str, str]
) -> dict[str, Any]:
    worst = entry.worst_case
    row: dict[str, Any] = {name: read(entry) for name, (_, read) in _facets(families).items()}
    row |= {
        "id": digits(entry),
        "page": entry.page,
        "defense": entry.defense.name[:300],
        "more": board.qualifiers[entry.page][:300],
        "place": rank.place,
        "shared": int(rank.shared),
        "weights": entry.record.parameters,
        "date": entry.date,
        "values": [_value(entry, column.metric) for column in columns],
        "ends": [worst.low, worst.high] if worst else None,
        "alarms": [alarm.label[:100] for alarm in entry.raised],
        "doubt": int(entry.in_doubt),
    }
    if entry.outcomes is not None:
        row["outcomes"] = [packed(outcomes) for outcomes in entry.outcomes]
    return row


def _paper(paper: Paper | None) -> dict[str, str]:
    return {"paper": paper.words[:300], **({"link": paper.link} if paper.link else {})} if paper else {}


def _facets(families: Mapping[str, str]) -> dict[str, tuple[str, Callable[[Entry], str]]]:
    return {
        "family": ("Family", lambda entry: family_of(entry, families)[:300]),
        "network": ("Network", lambda entry: entry.model[:300]),
        "tuning": ("Tuning", lambda entry: entry.tuning or "nothing to tune"),
        "budget": ("Epochs", _epochs),
        "seeds": ("Seeds", lambda entry: str(len(entry.results))),
        "data": ("Extra data", lambda entry: EXTRA_DATA[entry.extra_data]),
    }


def _epochs(entry: Entry) -> str:
    return str(entry.record.training.epochs) if entry.record.training else "trained elsewhere"


def _natural(text: str) -> tuple[bool, int, str]:
    return (not text.isdigit(), int(text) if text.isdigit() and len(text) < 19 else 0, text)


def _value(entry: Entry, metric: str) -> float | None:
    score = entry.scores.get(metric)
    return None if score is None or score.mean is None else float(f"{score.mean:.9g}")
