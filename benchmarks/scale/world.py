"""A sweep on simulated machines: its leases, boards and workers are the real ones; trainings only take time."""

import heapq
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import write_json
from bench.core.progress import Progress
from bench.runs.config import RunConfig
from bench.sweep.cells import FOLDER, Board, Cell, Request, seed_cells, with_searches
from bench.sweep.leases import Leases
from bench.sweep.work import Worker
from benchmarks.scale.engine import Engine, Machine


@dataclass(frozen=True)
class Setting:
    """What is simulated; times in seconds.

    Attributes:
        cells, machines: how many.
        trainings: cells that wait for one search.
        cell: the mean time of a training on a usual machine; times are log-normal with deviation `spread`.
        search: the time of a search, in trainings.
        slow, slowness: share of machines that are slow, and their speed.
        straggling, delay: share of trainings that take longer, and how many times as long.
        life: the mean time until a machine dies.
        repair: time until another one takes its place.
        checkpoint: time between two checkpoints of a training; what came after the last one is lost.
        patience: silence after which a cell is taken over (`--takeover-after`).
        look: time of one look at a cell on a shared folder.
        failing: share of cells whose first try fails with an error, which a retry mends.
    """

    cells: int = 10_000
    machines: int = 256
    trainings: int = 24
    cell: float = 1800.0
    spread: float = 0.3
    search: float = 2.0
    slow: float = 0.03
    slowness: float = 0.5
    straggling: float = 0.01
    delay: float = 2.0
    life: float = 24 * 3600.0
    repair: float = 300.0
    checkpoint: float = 120.0
    patience: float = 600.0
    look: float = 0.002
    failing: float = 0.005
    seed: int = 0


@dataclass
class Outcome:
    """What came of a simulation; times in seconds.

    Attributes:
        wall: until the last cell was done.
        perfect: the work divided by the speed of all machines, as if none died and nothing had an end.
        greedy: the same trainings by a queue without cost, on machines that do not die.
        done: how often each cell was finished.
        deaths: of machines.
        lost: work that deaths threw away.
        looking: time in which machines looked at cells.
        ended: when each cell was finished.
        busy: (time, machines that train), at every change.
        states: of the cells at the end.
    """

    wall: float = 0.0
    perfect: float = 0.0
    greedy: float = 0.0
    done: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    lost: float = 0.0
    looking: float = 0.0
    ended: list[float] = field(default_factory=list)
    busy: list[tuple[float, int]] = field(default_factory=list)
    states: Counter[str] = field(default_factory=Counter)


class _Looks(Board):
    """A board that counts how often it is looked at."""

    looks = 0

    def is_done(self, cell: Cell) -> bool:
        self.looks += 1
        return super().is_done(cell)


class World:
    """The machines, and the trainings that they do.

    Args:
        setting: what is simulated.
        out: an empty folder for results and leases.
    """

    def __init__(self, setting: Setting, out: Path) -> None:
        self.setting, self.out = setting, out
        self.draw = random.Random(setting.seed)
        self.engine, self.outcome = Engine(), Outcome()
        self.cells = _cells(setting, out)
        self.needed = {cell.key: self._time(cell) for cell in self.cells}
        self.left = dict(self.needed)
        self.failing = set(self.draw.sample(sorted(self.needed), round(setting.failing * len(self.cells))))
        slow = round(setting.slow * setting.machines)
        self.speeds = [setting.slowness] * slow + [1.0] * (setting.machines - slow)
        self.working = 0

    def run(self) -> Outcome:
        """Let the machines work until every cell is done."""
        for speed in self.speeds:
            self._join(speed)
        self.engine.run(lambda: len(self.outcome.done) == len(self.cells))
        outcome = self.outcome
        outcome.wall = self.engine.now
        outcome.perfect = sum(self.needed.values()) / sum(self.speeds)
        outcome.greedy = greedy([self.needed[cell.key] for cell in self.cells], self.speeds)
        board = Board(self.cells, self.out, Leases(self.out / FOLDER))
        outcome.states = Counter(board.status(cell).state for cell in self.cells)
        return outcome

    def _time(self, cell: Cell) -> float:
        setting = self.setting
        time = setting.cell * self.draw.lognormvariate(-(setting.spread**2) / 2, setting.spread)
        time *= setting.delay if self.draw.random() < setting.straggling else 1.0
        return time * (setting.search if cell.kind == "search" else 1.0)

    def _join(self, speed: float) -> None:
        """A machine begins to work; another one takes its place some time after its death."""
        machine = Machine(self.engine, lambda machine: self._work(machine, speed))
        self.engine.at(
            self.engine.now + self.draw.expovariate(1 / self.setting.life), lambda: self._die(machine, speed)
        )

    def _die(self, machine: Machine, speed: float) -> None:
        if not machine.over:
            machine.die()
            self.outcome.deaths += 1
            self.engine.at(self.engine.now + self.setting.repair, lambda: self._join(speed))

    def _work(self, machine: Machine, speed: float) -> None:
        leases = Leases(self.out / FOLDER, self.setting.patience, machine)
        board = _Looks(self.cells, self.out, leases)
        mine = {cell.key for cell in self.cells if cell.kind == "seed"}

        def train(cell: Cell) -> None:
            looking, board.looks = board.looks * self.setting.look, 0
            self.outcome.looking += looking
            machine.sleep(looking)
            self._train(machine, speed, cell)

        Worker(self.cells, mine, board, leases, train, Progress(), {}, retry=1, clock=machine).work()

    def _train(self, machine: Machine, speed: float, cell: Cell) -> None:
        """Take the time of a training; a death loses what came after the last checkpoint."""
        if cell.key in self.failing:
            self.failing.remove(cell.key)
            raise UserError("a fault that the next try does not meet")
        begun = self.engine.now

        def die() -> None:
            done = (self.engine.now - begun) * speed
            kept = done - done % self.setting.checkpoint
            self.left[cell.key] -= kept
            self.outcome.lost += (done - kept) / speed
            self._count(-1)

        self._count(1)
        machine.on_death = die
        machine.sleep(self.left[cell.key] / speed)
        machine.on_death = lambda: None
        self._count(-1)
        write_json(cell.result, {"trials": cell.job.trials})
        self.outcome.done[cell.key] += 1
        self.outcome.ended.append(self.engine.now)

    def _count(self, change: int) -> None:
        self.working += change
        self.outcome.busy.append((self.engine.now, self.working))


def greedy(times: Sequence[float], speeds: Sequence[float]) -> float:
    """When a queue would be empty that hands each machine the next training at once, at no cost."""
    free = [(0.0, speed) for speed in speeds]
    heapq.heapify(free)
    last = 0.0
    for time in times:
        now, speed = heapq.heappop(free)
        last = max(last, now + time / speed)
        heapq.heappush(free, (now + time / speed, speed))
    return last


def _cells(setting: Setting, out: Path) -> list[Cell]:
    """Searches with their trainings, each in a folder of its own; a real one lends the rest."""
    config = RunConfig.make(
        {"defense": "jacobian", "train_size": 40, "test_size": 5, "trials": 2, "out": out, "seeds": [0]}
    )
    (real,) = seed_cells([Request(config)])
    seeds = []
    for number in range(setting.cells - -(-setting.cells // (setting.trainings + 1))):
        run, seed = divmod(number, setting.trainings)
        name = f"run-{run:04d}"
        seeded = config.model_copy(update={"seeds": (seed,)})
        job = replace(real.job, config=seeded, name=name, folder=out / name)
        seeds.append(Cell(Request(seeded), job))
    return with_searches(seeds)
