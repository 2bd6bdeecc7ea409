"""A worker: it takes cells that nobody works on, one after another, until none is left."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from bench.core.errors import UserError
from bench.core.foreign_code import named, told
from bench.core.locks import Busy
from bench.core.progress import Progress
from bench.runs.run import Tracker, run_job, run_search
from bench.sweep.cells import Board, Cell
from bench.sweep.clock import Clock
from bench.sweep.leases import DeadProcesses, Lease, Leases
from bench.training.storage import is_shared

#: Seconds between two looks at cells that other processes work on: a share of what was waited already, within
#: bounds, since hundreds of idle workers would keep a shared folder busy.
PAUSE, LONGEST = 1.0, 30.0
SHARE = 0.1


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
        clock: how it waits.
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
    clock: Clock = field(default_factory=Clock)

    def work(self) -> None:
        """Work until each of the cells is done or has failed."""
        needed = {cell.needs for cell in self.cells if cell.key in self.mine}
        wanted = [cell for cell in self.cells if cell.key in self.mine or cell.key in needed]
        waited = 0.0
        with self.progress.task("cells", len(wanted)) as task:
            while wanted:
                left, worked = self._pass(wanted)
                task.advance(len(wanted) - len(left))
                wanted = left
                if worked or not left or self._help(left):
                    waited = 0.0
                    continue
                pause = max(self.pause, min(SHARE * waited, LONGEST))
                self.clock.sleep(pause)
                waited += pause

    def _pass(self, cells: Sequence[Cell]) -> tuple[list[Cell], bool]:
        """Go through cells until one could be done; gives those that are left, and whether one was done.

        Each pass begins anew, so that the cell of a machine that is gone is looked at again soon. A look at a cell
        on a shared folder takes time, and there may be thousands: of those that wait for a search, it looks at one.
        """
        left: list[Cell] = []
        waiting: set[str] = set()
        for number, cell in enumerate(cells):
            if cell.needs in waiting:
                left.append(cell)
            elif not self._is_settled(cell):
                left.append(cell)
                if not self.board.is_ready(cell):
                    waiting.add(cell.needs)
                elif self._try(cell):
                    return [*left, *cells[number + 1 :]], True
        return left, False

    def _help(self, left: Sequence[Cell]) -> bool:
        """Join a search that another process does, where its storage lets several search; True when it did."""
        for cell in left:
            if cell.kind == "search" and is_shared(cell.job.storage) and not self.board.is_done(cell):
                self.progress.say(f"{cell.title}: joined")
                try:
                    with named(*cell.parts):
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
        """Whether a cell is done, or it or its search has failed for good and nobody tries it again now."""
        if self.board.is_done(cell):
            return True
        needed = cell if self.board.is_ready(cell) else self._by_key[cell.needs]
        failed = self.board.failure(needed) and not self.leases.holder(needed.key)
        return bool(failed) and not self._may_try_again(needed)

    def _may_try_again(self, cell: Cell) -> bool:
        failure = self.board.failure(cell)
        return not failure or self._is_earlier(cell, failure) or failure["tries"] <= self.retry

    def _is_earlier(self, cell: Cell, failure: Mapping[str, Any]) -> bool:
        return failure.get("token") == self.earlier.get(cell.key)

    def _try(self, cell: Cell) -> bool:
        """Do a cell if nobody else does it; True when it was worked on.

        One that runs may be taken too: its holder may be a machine that is gone, which only the lease tells.
        """
        try:
            lease = self.leases.take(cell.key, self.clock.interrupt)
        except DeadProcesses as error:
            self._fail(cell, str(error))
            return True
        if lease is None:
            return False
        try:
            return not self.board.is_done(cell) and self._do(cell, lease)
        finally:
            lease.release(over=self.board.is_done(cell))

    def _do(self, cell: Cell, lease: Lease) -> bool:
        self.progress.say(f"{cell.title}: started")
        try:
            with named(*cell.parts):
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
