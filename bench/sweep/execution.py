"""How the cells of a sweep are done: here, by processes of this machine, on a Ray cluster, or by a job array."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from bench.core.errors import UserError
from bench.core.files import write_json
from bench.core.locks import check_locks, local_locks
from bench.core.progress import Progress
from bench.core.temporary import scratch_folder
from bench.runs.run import Tracker
from bench.sweep.cells import FOLDER, Board, Cell, Status
from bench.sweep.leases import PATIENCE, Leases
from bench.sweep.local import Workers, worker_command
from bench.sweep.on_ray import cluster, run_on_ray
from bench.sweep.part import part_of
from bench.sweep.report import statuses
from bench.sweep.slurm import check_options, submit
from bench.sweep.watch import Watch
from bench.sweep.work import Worker, run_cell
from bench.training.storage import refuse_several


@dataclass(frozen=True)
class Execution:
    """How cells are done; most fields are options of the command line.

    Attributes:
        jobs: processes, or tasks of an array.
        gpus_per_cell: CUDA devices of a process; a fraction shares one.
        sbatch: options for Slurm.
        ray_address: of a cluster; None as for `bench.sweep.on_ray.cluster`.
        retry: further tries of a cell that fails.
        index, count: the part that is done, from 0, and how many parts there are.
        takeover_after: seconds of silence after which another machine's cell is taken over.

    Raises:
        UserError: for a value that is out of bounds.
    """

    executor: Literal["local", "ray", "slurm"] = "local"
    jobs: int = 1
    gpus_per_cell: float = 1.0
    sbatch: Sequence[str] = ()
    ray_address: str | None = None
    retry: int = 0
    index: int = 0
    count: int = 1
    takeover_after: float = PATIENCE

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UserError(f"--jobs: expected at least 1, got {self.jobs}")
        if not 0 < self.gpus_per_cell <= 64:
            raise UserError(
                f"--gpus-per-cell: expected more than 0 and at most 64, got {self.gpus_per_cell:g}"
            )
        if self.retry < 0:
            raise UserError(f"--retry: expected 0 or more, got {self.retry}")
        for option, executor, given in (
            ("--sbatch", "slurm", bool(self.sbatch)),
            ("--ray-address", "ray", self.ray_address is not None),
        ):
            if given and self.executor != executor:
                raise UserError(f"{option}: expected --executor {executor} beside it, got {self.executor}")
        if self.executor == "ray" and self.count > 1:
            raise UserError("--index and --count are for job arrays; Ray divides the cells itself")
        if not self.takeover_after >= 1:
            raise UserError(f"--takeover-after: expected at least 1 second, got {self.takeover_after:g}")
        check_options(self.sbatch)


class Sweep:
    """The cells of a sweep, and the ways to have them done.

    Args:
        cells: searches before the trainings that need them.
        how: they are done.

    Raises:
        UserError: when several processes would share a storage that is for one.
    """

    def __init__(self, cells: Sequence[Cell], how: Execution) -> None:
        if how.jobs > 1 or how.count > 1 or how.executor != "local":
            refuse_several(cell.job.storage for cell in cells)
        self.cells, self.how = cells, how
        self.out = cells[0].job.config.out
        self.leases = Leases(self.out / FOLDER, how.takeover_after)
        self.board = Board(cells, self.out, self.leases)

    def states(self) -> dict[str, Status]:
        """The state of each cell now, by its key."""
        return statuses(self.cells, self.board)

    def check_folder(self, say: Callable[[str], None]) -> None:
        """Look whether the folder of the runs lets several processes share it, before any of them begins.

        Args:
            say: told of locks that hold on this machine only, where nothing shows that several machines are meant.

        Raises:
            UserError: where it has no locks, or several machines are meant and it has none between machines.
        """
        check_locks(self.out / FOLDER)
        if not (mounted := local_locks(self.out)):
            return
        found = f"the locks of {self.out} hold on one machine only ({mounted})"
        if self.how.executor != "local" or self.how.count > 1:
            raise UserError(f"{found}, and several are meant; mount it with locks, or choose another --out")
        say(f"{found}; let no second machine work on it, or mount it with locks")

    def forgive(self) -> dict[str, str]:
        """Let the cells that have failed be tried again; gives the failures, key → token, for `Worker.earlier`."""
        failed = {cell.key: found["token"] for cell in self.cells if (found := self.board.failure(cell))}
        for key in failed:
            self.leases.forgive(key)
        return failed

    def work(self, earlier: Mapping[str, str], tracker: Tracker, progress: Progress) -> None:
        """Do the cells in this process, with others that work on the same folder."""
        mine = part_of(self.cells, self.how.index, self.how.count)
        Worker(
            self.cells,
            mine,
            Board(self.cells, self.out, self.leases, progress),
            self.leases,
            lambda cell: run_cell(cell, tracker, progress),
            progress,
            earlier,
            self.how.retry,
        ).work()
        self.catch_up(tracker, mine)

    def catch_up(self, tracker: Tracker, mine: Collection[str] | None = None) -> None:
        """Log what killed processes did not live to log of finished cells.

        Args:
            mine: keys of the cells that are looked at; None for all.
        """
        keys = mine if mine is not None else {cell.key for cell in self.cells}
        done = [cell for cell in self.cells if cell.key in keys and self.board.is_done(cell)]
        tracker.catch_up(dict.fromkeys(cell.job.folder for cell in done))

    def manage(
        self, words: Sequence[str], earlier: Mapping[str, str], say: Callable[[str], None], *, table: bool
    ) -> None:
        """Do the cells by several processes of this machine, and say what changes.

        Args:
            words: of the command that makes the same sweep; options are added.
            earlier: as for `Worker`.
            say: prints a line.
            table: shows a live table instead of lines.

        Raises:
            UserError: when the processes ended before the cells.
        """
        how, watch = self.how, Watch(self.cells, self.board, say)
        with scratch_folder() as scratch:
            write_json(scratch / "call.json", dict(earlier))
            options = {
                "retry": how.retry,
                "takeover-after": f"{how.takeover_after:g}",
                "worker": scratch / "call.json",
                "index": how.index,
                "count": how.count,
            }
            words = [*words, *(word for name, value in options.items() for word in (f"--{name}", str(value)))]
            workers = Workers(worker_command(words), how.jobs, how.gpus_per_cell, scratch / "logs")
            with watch.shown(table=table):
                ended_well = workers.run(watch.look)
            if not ended_well:
                raise UserError(f"workers ended early: {workers.said()}")

    def cluster(self) -> AbstractContextManager[Any]:
        """Ray in touch with its cluster, where cells are done on one; else nothing."""
        how = self.how
        return cluster(how.ray_address, how.jobs) if how.executor == "ray" else nullcontext()

    def run_on_ray(
        self, ray: Any, earlier: Mapping[str, str], say: Callable[[str], None], *, table: bool
    ) -> None:
        """Do the cells as tasks of Ray, and say what changes; `ray` from `cluster`, the rest as for `manage`."""
        watch = Watch(self.cells, self.board, say)
        with watch.shown(table=table):
            run_on_ray(
                ray,
                self.cells,
                gpus_per_cell=self.how.gpus_per_cell,
                earlier=earlier,
                retry=self.how.retry,
                patience=self.how.takeover_after,
                look=watch.look,
            )

    def submit(self, words: Sequence[str], name: str) -> list[str]:
        """Have the cells done by job arrays of Slurm; gives the numbers of the jobs.

        Args:
            words: of the command that makes the same sweep.
            name: of the jobs, and of the folder of their scripts.
        """
        trainings = sum(cell.kind == "seed" for cell in self.cells)
        return submit(
            worker_command([*words, "--quiet"]),
            self.out / "sweeps" / name,
            name=name,
            count=min(self.how.jobs, trainings),
            options=self.how.sbatch,
        )
