"""Workers on the cells of a sweep: whatever fails, each cell is done once or its failure is kept."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.core.errors import UserError
from bench.core.files import write_json
from bench.core.progress import Progress
from bench.runs.config import RunConfig
from bench.sweep.cells import FOLDER, Board, Cell, Request, make_cells
from bench.sweep.leases import Lease, Leases
from bench.sweep.work import Worker
from bench.version import __version__

Run = Callable[[Cell], None]


def cells_of(out: Path, *, trials: int = 0) -> list[Cell]:
    given = {"train_size": 40, "test_size": 5, "trials": trials, "out": out, "defense": "jacobian"}
    return make_cells([Request(RunConfig.make({**given, "seeds": [seed]})) for seed in (0, 1, 2)])


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    """A search and three seeds; each test moves them to a folder of its own."""
    return cells_of(tmp_path_factory.mktemp("cells"), trials=2)


def finish(cell: Cell) -> None:
    """Leave the file of a finished cell."""
    write_json(cell.result, {"trials": 2})


def worker(
    cells: list[Cell], out: Path, run: Run, *, retry: int = 0, earlier: dict[str, str] | None = None
) -> Worker:
    leases = Leases(out / FOLDER)
    return Worker(
        cells,
        {cell.key for cell in cells if cell.kind == "seed"},
        Board(cells, out, leases),
        leases,
        run,
        Progress(),
        earlier or {},
        retry,
        pause=0.01,
    )


def moved(cells: list[Cell], out: Path) -> list[Cell]:
    """The same cells in another folder."""
    return [replace(cell, job=replace(cell.job, folder=out / cell.job.name)) for cell in cells]


def states(cells: list[Cell], out: Path) -> list[str]:
    board = Board(cells, out, Leases(out / FOLDER))
    return [board.status(cell).state for cell in cells]


def test_the_search_comes_first_and_each_cell_once(searched: list[Cell], tmp_path: Path) -> None:
    cells, done = moved(searched, tmp_path), []

    def run(cell: Cell) -> None:
        done.append(cell.key)
        finish(cell)

    assert [cell.kind for cell in cells] == ["search", "seed", "seed", "seed"]
    assert states(cells, tmp_path) == ["waiting"] * 4
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda _: worker(cells, tmp_path, run).work(), range(3)))
    assert done[0] == cells[0].key
    assert sorted(done) == sorted(cell.key for cell in cells)
    assert states(cells, tmp_path) == ["done"] * 4


def test_searches_come_before_all_trainings_and_those_in_order(tmp_path: Path) -> None:
    given = {"train_size": 40, "test_size": 5, "trials": 2, "out": tmp_path}
    runs = [{"defense": name, "seeds": [seed]} for name in ("jacobian", "standard", "prs") for seed in (0, 1)]
    cells = make_cells([Request(RunConfig.make({**given, **run})) for run in runs])
    assert [(cell.kind, cell.job.plan.name, cell.seed) for cell in cells] == [
        ("search", "jacobian", 0),
        ("search", "prs", 0),
        *(("seed", str(run["defense"]), run["seeds"][0]) for run in runs),
    ]


def test_a_failure_is_kept_and_tried_again_by_the_next_call(searched: list[Cell], tmp_path: Path) -> None:
    cells, tries = moved(searched, tmp_path), []

    def run(cell: Cell) -> None:
        tries.append(cell.key)
        if cell.kind == "seed" and cell.seed == 1 and len(tries) < 6:
            raise UserError("too large a step")
        finish(cell)

    worker(cells, tmp_path, run).work()
    assert states(cells, tmp_path) == ["done", "done", "failed", "done"]
    assert len(tries) == 4
    worker(cells, tmp_path, run).work()
    assert len(tries) == 4, "another worker of the same call tried it again"
    board = Board(cells, tmp_path, Leases(tmp_path / FOLDER))
    failure = board.failure(cells[2])
    assert (failure["error"], failure["tries"]) == ("too large a step", 1)
    worker(cells, tmp_path, run, earlier={cells[2].key: failure["token"]}, retry=1).work()
    assert len(tries) == 6
    assert states(cells, tmp_path) == ["done"] * 4
    assert board.failure(cells[2]) == {}


@pytest.mark.parametrize("content", ["", "[]", '{"tries": 1}', '{"tries": "x", "token": "y"}'])
def test_a_damaged_failure_counts_as_none(searched: list[Cell], tmp_path: Path, content: str) -> None:
    cells = moved(searched, tmp_path)
    board = Board(cells, tmp_path, Leases(tmp_path / FOLDER))
    board.fail(cells[2], "x", 1)
    next((tmp_path / FOLDER).glob("*.failed.json")).write_text(content)
    assert board.failure(cells[2]) == {}


def test_seeds_of_a_search_that_failed_are_blocked(searched: list[Cell], tmp_path: Path) -> None:
    cells = moved(searched, tmp_path)

    def fail(cell: Cell) -> None:
        raise OSError(28, "No space left on device", "file")

    worker(cells, tmp_path, fail).work()
    assert states(cells, tmp_path) == ["failed", "blocked", "blocked", "blocked"]
    board = Board(cells, tmp_path, Leases(tmp_path / FOLDER))
    assert board.status(cells[1]).note == "its search failed: file: No space left on device"


def test_ctrl_c_ends_the_worker_and_gives_the_cell_back(searched: list[Cell], tmp_path: Path) -> None:
    cells = moved(searched, tmp_path)

    def stop(cell: Cell) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        worker(cells, tmp_path, stop).work()
    assert states(cells, tmp_path) == ["waiting"] * 4
    worker(cells, tmp_path, finish).work()
    assert states(cells, tmp_path) == ["done"] * 4


def test_a_part_does_its_seeds_and_the_search_they_need(searched: list[Cell], tmp_path: Path) -> None:
    cells = moved(searched, tmp_path)
    part = worker(cells, tmp_path, finish)
    part.mine = {cells[2].key}
    part.work()
    assert states(cells, tmp_path) == ["done", "waiting", "done", "waiting"]


def test_the_cell_of_a_machine_that_is_gone_is_taken_over_after_silence(
    searched: list[Cell], tmp_path: Path
) -> None:
    cells = moved(searched, tmp_path)
    gone = {"host": "gone", "pid": 1, "machine": "gone", "version": __version__, "state": "held", "deaths": 0}
    write_json(tmp_path / FOLDER / f"{cells[0].key}.1.lease", gone)
    one = worker(cells, tmp_path, finish)
    one.leases = Leases(tmp_path / FOLDER, patience=0.05)
    one.work()
    assert states(cells, tmp_path) == ["done"] * 4
    assert list((tmp_path / FOLDER).iterdir()) == [], "a listing for each look would grow with the sweep"


def test_a_worker_of_another_version_is_refused(searched: list[Cell], tmp_path: Path) -> None:
    cells = moved(searched, tmp_path)
    other = {"host": "other", "pid": 1, "machine": "other", "version": "0.0.1", "state": "held", "deaths": 0}
    beats = iter(range(100))

    class Beating(Leases):
        def take(self, *arguments: Any) -> Lease | None:
            write_json(tmp_path / FOLDER / f"{cells[0].key}.1.lease", {**other, "beats": next(beats)})
            return super().take(*arguments)

    one = worker(cells, tmp_path, finish)
    one.leases = Beating(tmp_path / FOLDER)
    with pytest.raises(UserError, match=r"works on this folder with regionbench 0\.0\.1"):
        one.work()


def test_what_failed_elsewhere_while_a_worker_was_busy_is_not_tried_again(
    searched: list[Cell], tmp_path: Path
) -> None:
    cells, tries = moved(searched, tmp_path), []
    board = Board(cells, tmp_path, Leases(tmp_path / FOLDER))

    def run(cell: Cell) -> None:
        tries.append(cell.key)
        if cell is cells[1]:
            board.fail(cells[2], "elsewhere", 1)
        finish(cell)

    worker(cells, tmp_path, run).work()
    assert tries == [cells[0].key, cells[1].key, cells[3].key]


def test_two_ways_of_writing_one_training_are_refused(tmp_path: Path) -> None:
    given = {"train_size": 40, "test_size": 5, "out": tmp_path, "defense": "standard"}
    twice = [Request(RunConfig.make({**given, **more})) for more in ({}, {"threat": "linf:0.2"})]
    with pytest.raises(UserError, match="two runs are the same training"):
        make_cells(twice)
