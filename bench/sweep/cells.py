"""The cells of a sweep: a search, or the training and the result of one seed, each done by one process."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from bench.core.errors import UserError
from bench.core.files import read_json, write_json
from bench.core.progress import Progress, readable
from bench.core.record import HISTORY, RECORD, SEARCH, TRIAL
from bench.data import Dataset
from bench.evaluation.battery import Battery
from bench.runs.config import RunConfig
from bench.runs.job import Job, resolve
from bench.runs.plan import load_data, pick_device
from bench.runs.run import finished_result, result_folder
from bench.sweep.leases import Leases
from bench.training.history import read_history, robust_accuracy

#: Folder of leases and failures, below the folder of runs.
FOLDER = ".sweep"
State = Literal["done", "running", "failed", "blocked", "waiting"]
#: What `load_data` reads of a config.
_DATA = (
    "dataset",
    "data_dir",
    "download",
    "train_size",
    "test_size",
    "image_size",
    "class_order",
    "device",
)


@dataclass(frozen=True)
class Request:
    """A run with one seed that is asked for.

    Attributes:
        config: its settings.
        battery: None takes the config's.
        command: what gives the run again; "" is `bench run` with the config's words.
    """

    config: RunConfig
    battery: Battery | None = None
    command: str = ""


@dataclass(frozen=True)
class Cell:
    """One unit of a sweep's work.

    Attributes:
        request: gives the same cell in another process.
        job: of the run that the cell is a part of; its config has the one seed.
        kind: "search", or "seed" for a training with its result.
    """

    request: Request
    job: Job
    kind: Literal["search", "seed"] = "seed"

    @property
    def seed(self) -> int:
        """The seed of a training."""
        return self.job.config.seeds[0]

    @property
    def parts(self) -> tuple[str, ...]:
        """The settings that name a part, which may be a plug-in."""
        config = self.job.config
        return config.defense, config.model, config.dataset, *config.metrics

    @cached_property
    def key(self) -> str:
        """Names the cell in file names; equal for the same work in any sweep."""
        if self.kind == "search":
            return f"{self.job.name}.search"
        return f"{self.job.name}.seed-{self.seed}.{result_folder(self.job, self.seed).name}"

    @cached_property
    def needs(self) -> str:
        """Key of the search that comes first; "" for none."""
        return f"{self.job.name}.search" if self.kind == "seed" and self.job.trials else ""

    @property
    def title(self) -> str:
        """Names the cell for people."""
        plan = self.job.plan
        words = [plan.dataset.name, plan.model, plan.name, str(plan.threat)]
        words += [f"{name}={value}" for name, value in plan.fixed.items()]
        return " ".join([*words, "search" if self.kind == "search" else f"seed {self.seed}"])

    @cached_property
    def result(self) -> Path:
        """The file that a finished cell has."""
        if self.kind == "search":
            return self.job.folder / SEARCH
        return result_folder(self.job, self.seed) / RECORD


@dataclass(frozen=True)
class Status:
    """The state of a cell.

    Attributes:
        note: progress of one that runs, the cause of one that failed.
    """

    state: State
    note: str = ""


def seed_cells(requests: Sequence[Request]) -> list[Cell]:
    """The training of each request; what several requests have in common is loaded and checked once.

    Raises:
        UserError: for a run that cannot work, before anything is written.
    """
    data: dict[str, Dataset] = {}
    jobs: dict[tuple[str, str, str], Job] = {}
    cells = []
    for request in requests:
        config, battery = request.config, request.battery
        same = config.model_dump_json(exclude={"seeds"}), battery.name if battery else "", request.command
        if same not in jobs:
            jobs[same] = resolve(config, _data(config, data), battery, request.command)
        config = config.model_copy(update={"precision": jobs[same].config.precision})
        cells.append(Cell(replace(request, config=config), replace(jobs[same], config=config)))
    return cells


def with_searches(seeds: Sequence[Cell]) -> list[Cell]:
    """The trainings, each once, and before all of them the searches that they need.

    A search that begins late leaves processes idle that wait for it, so that searches come first.
    """
    searches: dict[str, Cell] = {}
    for cell in seeds:
        if cell.needs:
            searches.setdefault(cell.needs, replace(cell, kind="search"))
    trainings = {cell.key: cell for cell in seeds}
    return [*searches.values(), *trainings.values()]


def make_cells(requests: Sequence[Request]) -> list[Cell]:
    """All cells of a sweep, in which each training is asked for once.

    Raises:
        UserError: for two requests of one training and result, or a run that cannot work.
    """
    cells: dict[str, Cell] = {}
    for cell in seed_cells(requests):
        if other := cells.get(cell.key):
            raise UserError(
                f"two runs are the same training and result: {' '.join(other.job.config.words())} and "
                f"{' '.join(cell.job.config.words())}; leave one out"
            )
        cells[cell.key] = cell
    return with_searches(list(cells.values()))


def _data(config: RunConfig, known: dict[str, Dataset]) -> Dataset:
    key = config.model_dump_json(include=set(_DATA))
    if key not in known:
        known[key] = load_data(config).to(pick_device(config.device))
    return known[key]


class Board:
    """The states of cells, from the files in the folder of runs.

    Args:
        cells: all of a sweep.
        folder: of the runs.
        leases: on the cells.
        progress: told of results that are damaged, which are set aside; None only looks for the files.
    """

    def __init__(
        self, cells: Sequence[Cell], folder: Path, leases: Leases, progress: Progress | None = None
    ) -> None:
        self._cells = {cell.key: cell for cell in cells}
        self._folder = folder / FOLDER
        self._leases = leases
        self._progress = progress
        self._fits: dict[str, tuple[int, bool]] = {}
        self._searched: set[str] = set()

    def status(self, cell: Cell) -> Status:
        """The state of a cell now, with what people want to know of it."""
        state = self.state(cell)
        if state == "running":
            return Status(state, " · ".join(filter(None, (_progress(cell), self._leases.holder(cell.key)))))
        if state == "failed":
            return Status(state, str(self.failure(cell).get("error", "")))
        if state == "blocked":
            return Status(
                state, f"its search failed: {self.failure(self._cells[cell.needs]).get('error', '')}"
            )
        if state == "waiting":
            return Status(state, _progress(cell) if self.is_ready(cell) else "for its search")
        return Status(state)

    def state(self, cell: Cell) -> State:
        """The state of a cell now."""
        if self.is_done(cell):
            return "done"
        if self._leases.holder(cell.key):
            return "running"
        if self.failure(cell):
            return "failed"
        return "waiting" if self.is_ready(cell) or not self.failure(self._cells[cell.needs]) else "blocked"

    def is_ready(self, cell: Cell) -> bool:
        """Whether the search that a cell needs is done."""
        needed = self._cells.get(cell.needs)
        return needed is None or self.is_done(needed)

    def is_done(self, cell: Cell) -> bool:
        """Whether a cell has its result."""
        if cell.kind == "seed":
            return cell.result.is_file() and (self._progress is None or self._fits_job(cell, self._progress))
        if cell.key not in self._searched:
            with suppress(UserError, KeyError, TypeError):
                if read_json(cell.result)["trials"] >= cell.job.trials:
                    self._searched.add(cell.key)
        return cell.key in self._searched

    def _fits_job(self, cell: Cell, progress: Progress) -> bool:
        """Whether a record is whole, and of the battery and the images that are asked for now."""
        try:
            changed = cell.result.stat().st_mtime_ns
        except FileNotFoundError:
            return False
        before, fits = self._fits.get(cell.key, (0, False))
        if changed != before:
            fits = finished_result(cell.job, cell.seed, progress) is not None
            self._fits[cell.key] = (changed, fits)
        return fits

    def failure(self, cell: Cell) -> dict[str, Any]:
        """What is known of a cell's last failure; empty where there is none, or where its file is damaged."""
        try:
            found = read_json(self._failure(cell))
        except UserError:
            return {}
        whole = isinstance(found, dict) and all(
            isinstance(found.get(key), kind) for key, kind in (("tries", int), ("token", str))
        )
        return found if whole else {}

    def fail(self, cell: Cell, error: str, tries: int) -> None:
        """Keep the cause of a failure, and how often the cell was tried since the sweep was started."""
        about = {"error": error, "tries": tries, "host": socket.gethostname(), "token": token_hex(8)}
        write_json(self._failure(cell), about)

    def forget_failure(self, cell: Cell) -> None:
        """Forget a failure, since the cell is tried again."""
        self._failure(cell).unlink(missing_ok=True)

    def _failure(self, cell: Cell) -> Path:
        return self._folder / f"{cell.key}.failed.json"


def _progress(cell: Cell) -> str:
    """How far a cell has come, from the files of its trainings."""
    folder = cell.job.folder
    if cell.kind == "search":
        trials = len(list(folder.glob(f"trials/*/{TRIAL}")))
        return f"trial {trials} of {cell.job.trials}" if trials else ""
    home, epochs = folder / f"seed-{cell.seed}", cell.job.plan.epochs
    if not (home / HISTORY).is_file():
        return ""
    try:
        rows = read_history(home)
        score = f", {robust_accuracy(rows[-1]):.1%} robust" if rows else ""
    except (UserError, KeyError, TypeError):
        return ""
    if len(rows) >= epochs:
        return f"evaluation{score}"
    left = (epochs - len(rows)) * sum(row["seconds"] or 0.0 for row in rows) / max(1, len(rows))
    return f"epoch {len(rows)} of {epochs}{score}, about {readable(left)} of training left"
