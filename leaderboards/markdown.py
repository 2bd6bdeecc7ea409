"""A board as a Markdown table, for a README or an issue."""

from collections.abc import Sequence

from bench.core.values import printable
from leaderboards.board import Board
from leaderboards.table import MARKS, Cell, Row, make_table


def board_markdown(board: Board, metrics: Sequence[str] = ()) -> str:
    """A board, best entry first, with 95 % intervals and marks; time is relative to standard training.

    Args:
        board: whose entries are the rows.
        metrics: the scores that are shown; by default the main ones.
    """
    table = make_table(board, metrics)
    head = ["rank", "defense", "network", *map(_safe, table.scores), "alarms"]
    rows = [_row(row) for row in table.rows]
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    note = [f"\n{MARKS}"] if any(cell.best for row in table.rows for cell in row.cells) else []
    return "\n".join([f"**{_safe(table.title)}**", "", *lines, *note]) + "\n"


def _row(row: Row) -> list[str]:
    alarms = "<br>".join(map(_safe, row.alarms)) or "none"
    return [row.place, _code(row.defense), _safe(row.network), *map(_score, row.cells), alarms]


def _score(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.best else f"{cell.value}{'†' if cell.tied else ''}"
    return f"{value} ({cell.between})" if cell.between else value


def _code(text: str) -> str:
    """Text as code, in which only what ends it or its cell means something."""
    one_line = printable(" ".join(text.split()))
    return f"`{one_line.replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _safe(text: str) -> str:
    """Text that cannot end a cell or become markup."""
    one_line = printable(" ".join(text.split()))
    return "".join("\\" + c if c in "\\|<>[]*_`" else c for c in one_line)
