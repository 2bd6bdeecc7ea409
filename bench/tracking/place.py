"""Where a record stands among the others: its board, its entry's page, and whether a board ranks it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.core.names import WORST_CASE, short_hash, slug
from bench.core.record import Record, load_record
from leaderboards.entry import Entry, board_identity
from leaderboards.result import read_ranked


@dataclass(frozen=True)
class Place:
    """How the boards of a site see one record.

    Attributes:
        record: with the lowest worst case that is known.
        reason: why no board ranks it; "" where one does.
        board: what records of one board share, as one word; "" where no board ranks it.
        title: the board for readers.
        page: file name of its entry's page, without suffix.
    """

    record: Record
    reason: str
    board: str = ""
    title: str = ""
    page: str = ""


@lru_cache(maxsize=512)
def place(path: Path, digest: str) -> Place:
    """The place of a record, which all arrays beside it are read for.

    Args:
        path: the record.
        digest: SHA-256 of the file; the same file is judged once.

    Raises:
        UserError: when it is not a valid record.
    """
    results, left_out = read_ranked([path], strict=False)
    if not results:
        return Place(load_record(path), left_out[0].reason)
    (result,) = results
    record, page = result.record, Entry((result,)).page
    score, battery = record.metrics.get(WORST_CASE), record.battery
    if score is None or score.value is None:
        return Place(record, "no worst case was measured", page=page)
    if battery.name.startswith("selected-"):
        return Place(record, "a selection of metrics", page=page)
    shared = board_identity(result)
    words = f"{shared['dataset']}, {shared['norm']} {shared['eps']}, {battery.name} {battery.version}"
    board = f"{slug(words)}-{short_hash(shared)}"
    return Place(record, "", board, f"{words}, {record.dataset.evaluated_size} images", page)
