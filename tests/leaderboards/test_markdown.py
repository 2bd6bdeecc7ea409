"""Boards as Markdown tables."""

import re
from collections.abc import Callable
from pathlib import Path

from bench.core.names import WORST_CASE
from bench.core.record import Record
from leaderboards.board import make_boards
from leaderboards.markdown import board_markdown
from leaderboards.markup import place
from leaderboards.result import read_results


def test_an_entry_without_a_worst_case_has_no_rank(
    tmp_path: Path, make_record: Callable[..., Record], write_record: Callable[..., Path]
) -> None:
    record = make_record()
    record.metrics.pop(WORST_CASE)
    results, _ = read_results([write_record(tmp_path / "r", record)])
    (board,) = make_boards(results)
    text = board_markdown(board)
    assert "None" not in text
    assert text.splitlines()[-1].startswith("| — | ")


def test_a_shared_place_is_written_alike_on_pages_and_in_tables(sample: list[Path]) -> None:
    boards = make_boards(read_results(sample)[0])
    pages = {re.sub("<[^>]+>", "", str(place(rank))) for board in boards for rank in board.ranks}
    shared = {each.removesuffix(" shared") for each in pages if each.endswith(" shared")}
    tables = "".join(map(board_markdown, boards))
    assert shared
    assert all(re.fullmatch(r"\d+=", each) for each in shared)
    assert all(f"| {each} |" in tables for each in shared)
