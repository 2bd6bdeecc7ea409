"""Boards as Markdown tables."""

from collections.abc import Callable
from pathlib import Path

from bench.core.names import WORST_CASE
from bench.core.record import Record
from leaderboards.board import make_boards
from leaderboards.markdown import board_markdown
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
