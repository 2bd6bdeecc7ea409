"""Where a record stands among the others: its board, its entry's page, and whether a board ranks it."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bench.core.errors import UserError
from bench.core.names import WORST_CASE, short_hash, slug
from bench.core.places import board_identity, entry_page
from bench.core.record import Record, load_record, read_arrays
from bench.core.standing import CHECKED, count_checks


@dataclass(frozen=True)
class Place:
    """How the boards of a site see one record.

    Attributes:
        record: with the lowest worst case that is known.
        reason: why no board ranks it; "" where none is known before a site is built.
        board: what records of one board share, as one word; "" where no board ranks it.
        title: the board for readers.
        page: file name of its entry's page, without suffix.
    """

    record: Record
    reason: str = ""
    board: str = ""
    title: str = ""
    page: str = ""


@lru_cache(maxsize=512)
def place(path: Path, digest: str) -> Place:
    """The place of a record.

    Args:
        path: the record, which has its arrays beside it.
        digest: SHA-256 of the file; the same file is judged once.

    Raises:
        UserError: when it is not a valid record.
    """
    record = load_record(path)
    shared, page, battery = board_identity(record), entry_page(record), record.battery
    try:
        arrays = read_arrays(path, record, [WORST_CASE, CHECKED])
    except UserError as error:
        return Place(record, str(error).replace(f"{path.parent}/", ""), page=page)
    record, _ = count_checks(record, arrays.get(WORST_CASE), arrays.get(CHECKED))
    score = record.metrics.get(WORST_CASE)
    if score is None or score.value is None:
        return Place(record, "no worst case was measured", page=page)
    if battery.name.startswith("selected-"):
        return Place(record, "a selection of metrics", page=page)
    if shared["eps"] == "0":
        return Place(record, "ε is 0, which is no threat", page=page)
    words = f"{shared['dataset']}, {shared['norm']} {shared['eps']}, {battery.name} {battery.version}"
    threat = record.threat.title
    measured = f"{battery.name} {battery.version}, {record.dataset.evaluated_size} images"
    title = f"{shared['dataset']}, {threat}, {measured}"
    return Place(record, "", f"{slug(words)}-{short_hash(shared)}", title, page)
