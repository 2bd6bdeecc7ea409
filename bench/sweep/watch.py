"""Watch the cells of a sweep while workers do them: a live table on a terminal, lines elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from bench.core.values import printable
from bench.sweep.cells import Board, Cell, Status
from bench.sweep.report import one_line, statuses

#: Rows of the table that are shown at once: those that run, then the latest failures.
ROWS = 20


class Watch:
    """Look at the states of cells and show what has changed.

    Args:
        cells: to look at.
        board: their states.
        say: prints a line.
    """

    def __init__(self, cells: Sequence[Cell], board: Board, say: Callable[[str], None]) -> None:
        self._cells, self._board, self._say = cells, board, say
        self._before: dict[str, str] = {}
        self._live: Live | None = None

    @contextmanager
    def shown(self, *, table: bool) -> Iterator[None]:
        """Show a table while the block runs, or lines."""
        if not table:
            yield
            return
        with Live(console=Console(stderr=True, highlight=False), transient=True, auto_refresh=False) as live:
            self._live = live
            try:
                yield
            finally:
                self._live = None

    def look(self) -> None:
        """Look once."""
        states = statuses(self._cells, self._board)
        if self._live is not None:
            self._live.update(_rows(self._cells, states), refresh=True)
            return
        ended = sum(status.state in ("done", "failed", "blocked") for status in states.values())
        for cell in self._cells:
            status = states[cell.key]
            if self._before.get(cell.key, "waiting") != status.state and status.state != "waiting":
                note = f": {status.note}" if status.note and status.state != "done" else ""
                self._say(f"[{ended}/{len(self._cells)}] {cell.title} {status.state}{note}")
            self._before[cell.key] = status.state


def _rows(cells: Sequence[Cell], states: dict[str, Status]) -> Table:
    table = Table(box=None, pad_edge=False, caption=one_line(states), caption_justify="left")
    for heading in ("state", "cell", ""):
        table.add_column(heading, no_wrap=heading != "")
    shown = [cell for cell in cells if states[cell.key].state == "running"]
    shown += [cell for cell in cells if states[cell.key].state in ("failed", "blocked")]
    for cell in shown[:ROWS]:
        status = states[cell.key]
        table.add_row(status.state, Text(printable(cell.title)), Text(printable(status.note)))
    return table
