"""A worker: it takes cells that nobody works on, one after another, until none is left."""

import _thread
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bench.core.errors import UserError
from bench.core.foreign_code import named, told
from bench.core.locks import Busy
from bench.core.progress import Progress
from bench.runs.run import Tracker, run_job, run_search
from bench.sweep.cells import Board, Cell
from bench.sweep.leases import DeadProcesses, Lease, Leases
from bench.training.storage import is_shared

#: Seconds between two looks at cells that other processes work on.
PAUSE = 1.0


@dataclass
class Worker:
    """Works on cells that it shares with other processes through their folder.

    Attributes:
        cells: all of the sweep; those of `mine` are done, and the searches that they need.
        mine: keys of the cells of this worker's part.
        board: their states.
        leases: on them.
        run: does the work of one cell.
        progress: told what happens.
        earlier: failures known when the sweep was started, key → token: those cells are tried again.
        retry: further tries of a cell that fails.
        pause: seconds between two looks at what others do.
    """

    cells: Sequence[Cell]
    mine: Collection[str]
    board: Board
    leases: Leases
    run: Callable[[Cell], None]
    progress: Progress
    earlier: Mapping[str, str]
    retry: int = 0
    pause: float = PAUSE

    def work(self) -> None:
        """Work until each of the cells is done or has failed."""
        needed = {cell.needs for cell in self.cells if cell.key in self.mine}
        wanted = [cell for cell in self.cells if cell.key in self.mine or cell.key in needed]
        while True:
            left = [cell for cell in wanted if not self._is_settled(cell)]
            if not left:
                return
            worked_on = [cell for cell in left if self._try(cell)]
            if not worked_on and not self._help(left):
                time.sleep(self.pause)

    def _help(self, left: Sequence[Cell]) -> bool:
        """Join a search that another process does, where its storage lets several search; True when it did."""
        for cell in left:
            if cell.kind == "search" and is_shared(cell.job.storage) and not self.board.is_done(cell):
                self.progress.say(f"{cell.title}: joined")
                try:
                    with named():
                        self.run(cell)
                except UserError as error:  # which the process that holds the cell meets too
                    self.progress.say(f"{cell.title}: {error}")
                    return False
                return True
        return False

    @cached_property
    def _by_key(self) -> dict[str, Cell]:
        return {cell.key: cell for cell in self.cells}

    def _is_settled(self, cell: Cell) -> bool:
        status = self.board.status(cell)
        if status.state == "failed":
            return not self._may_try_again(cell)
        if status.state == "blocked":
            return not self._may_try_again(self._by_key[cell.needs])
        return status.state == "done"

    def _may_try_again(self, cell: Cell) -> bool:
        failure = self.board.failure(cell)
        return not failure or self._is_earlier(cell, failure) or failure["tries"] <= self.retry

    def _is_earlier(self, cell: Cell, failure: Mapping[str, Any]) -> bool:
        return failure.get("token") == self.earlier.get(cell.key)

    def _try(self, cell: Cell) -> bool:
        """Do a cell if it can be done now; True when it was worked on."""
        if self.board.status(cell).state in ("done", "running", "blocked"):
            return False
        if cell.needs and not self.board.is_done(self._by_key[cell.needs]):
            return False
        try:
            lease = self.leases.take(cell.key, _thread.interrupt_main)
        except DeadProcesses as error:
            self._fail(cell, str(error))
            return True
        if lease is None:
            return False
        try:
            return not self.board.is_done(cell) and self._do(cell, lease)
        finally:
            lease.release()

    def _do(self, cell: Cell, lease: Lease) -> bool:
        self.progress.say(f"{cell.title}: started")
        try:
            with named():
                self.run(cell)
        except Busy:
            return False
        except KeyboardInterrupt:
            if not lease.lost:
                raise
            self.progress.say(f"{cell.title}: taken over by another process")
        except UserError as error:
            self._fail(cell, str(error))
        except OSError as error:
            self._fail(cell, f"{error.filename or 'the system'}: {error.strerror or error}")
        except Exception as error:
            self._fail(cell, told(error))
        else:
            self.board.forget_failure(cell)
            self.progress.say(f"{cell.title}: done")
        return True

    def _fail(self, cell: Cell, error: str) -> None:
        before = self.board.failure(cell)
        tries = 1 if not before or self._is_earlier(cell, before) else before["tries"] + 1
        self.board.fail(cell, " ".join(error.split()), tries)
        self.progress.say(f"{cell.title}: failed: {error}")


def run_cell(cell: Cell, tracker: Tracker, progress: Progress) -> None:
    """Do the work of a cell.

    Raises:
        UserError: when it cannot be done.
    """
    if cell.kind == "search":
        try:
            run_search(cell.job, tracker, progress)
        finally:
            tracker.sync(cell.job.folder, final=True)
    else:
        run_job(cell.job, tracker, progress)
