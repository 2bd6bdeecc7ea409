"""`bench sweep`."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import SettingsCommand, print_paths, tracker_of
from bench.cli.streams import print_json, print_result
from bench.cli.types import NUMBER, PATH, TEXT, WHOLE
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.core.progress import Progress
    from bench.sweep.cells import Board, Cell
    from bench.sweep.leases import Leases

#: Settings of a run that are of this machine, and may be given to a sweep.
LOCAL = ("data_dir", "download", "device", "out", "tracking", "storage")


@click.command(cls=SettingsCommand, settings=LOCAL)
@click.argument("file", type=PATH)
@click.option("--jobs", type=WHOLE, default=1, show_default=True, help="Processes, or tasks of an array.")
@click.option(
    "--executor",
    type=click.Choice(["local", "slurm", "ray"]),
    default="local",
    show_default=True,
    help="Where they run.",
)
@click.option(
    "--gpus-per-cell",
    type=NUMBER,
    default=1.0,
    show_default=True,
    help="CUDA devices of a process; 0.5 lets two share one.",
)
@click.option("--sbatch", "sbatch", type=TEXT, multiple=True, metavar="OPTION", help="For Slurm; repeatable.")
@click.option(
    "--ray-address",
    type=TEXT,
    metavar="HOST:PORT",
    help="A Ray cluster, or auto.  [default: RAY_ADDRESS, else one is started here]",
)
@click.option("--retry", type=WHOLE, default=0, show_default=True, help="Further tries of a cell that fails.")
@click.option("--index", type=WHOLE, help="Do this part alone, from 0.  [default: of a job array's task]")
@click.option("--count", type=WHOLE, help="Parts in all.  [default: of a job array]")
@click.option(
    "--takeover-after",
    type=NUMBER,
    default=60.0,
    show_default=True,
    help="Seconds of silence after which another machine's cell is taken over.",
)
@click.option(
    "--dry-run", is_flag=True, help="Show the cells, what exists, and the estimated cost; do nothing."
)
@click.option("--status", is_flag=True, help="Show the state of each cell; do nothing.")
@click.option("--yes", is_flag=True, help="Go on with more than 1,000 runs.")
@click.option("--worker", type=PATH, hidden=True)
@click.option("--json", "as_json", is_flag=True, help="Print record paths, or states, as JSON, nothing else.")
@click.option("--quiet", is_flag=True, help="No progress.")
def sweep(file: Path, **given: Any) -> None:
    """Run every combination of the settings in FILE.yaml, of which any may be a list.

    What is finished is skipped, what is half done resumes, and what failed is listed and tried again by the next
    call. Several calls at once, also of several machines on one folder, divide the work among themselves.
    """
    from bench.cli.display import make_progress
    from bench.runs.job import storage_of
    from bench.sweep.cells import FOLDER, Board, make_cells
    from bench.sweep.leases import Leases
    from bench.sweep.matrix import MANY, read_sweep
    from bench.sweep.part import find_part
    from bench.training.storage import refuse_several

    _check(given)
    # Known from here on, also where they come from the variables of a job array.
    given["index"], given["count"] = find_part(given["index"], given["count"])
    configs = read_sweep(file, {key: given[key] for key in LOCAL})
    if len(configs) > MANY and not (given["yes"] or given["status"] or given["dry_run"]):
        raise UserError(f"{file} has {len(configs):,} runs; give --yes if that is meant")
    if given["jobs"] > 1 or given["count"] > 1 or given["executor"] != "local":
        refuse_several(storage_of(config) for config in configs)
    cells = make_cells(configs)
    out = configs[0].out
    leases = Leases(out / FOLDER, given["takeover_after"])
    looks = Board(cells, out, leases)
    if given["status"] or given["dry_run"]:
        _show(cells, looks, given)
        return
    progress = make_progress(given["quiet"])
    if given["executor"] == "slurm":
        _submit(file, cells, given, progress)
        return
    earlier = _earlier(given["worker"], cells, looks, leases)
    if given["executor"] == "ray":
        _tasks(cells, looks, earlier, given, progress)
    elif given["jobs"] == 1:
        _work(cells, Board(cells, out, leases, progress), leases, earlier, given, progress)
    else:
        _manage(file, cells, looks, earlier, given, progress)
    if given["worker"] is None:
        _conclude(cells, looks, given, progress)


def _check(given: dict[str, Any]) -> None:
    if given["jobs"] < 1:
        raise UserError(f"--jobs: expected at least 1, got {given['jobs']}")
    if not 0 < given["gpus_per_cell"] <= 64:
        raise UserError(
            f"--gpus-per-cell: expected more than 0 and at most 64, got {given['gpus_per_cell']:g}"
        )
    if given["retry"] < 0:
        raise UserError(f"--retry: expected 0 or more, got {given['retry']}")
    if given["executor"] == "ray" and (given["index"], given["count"]) != (None, None):
        raise UserError("--index and --count are for job arrays; Ray divides the cells itself")
    if not given["takeover_after"] >= 1:
        raise UserError(f"--takeover-after: expected at least 1 second, got {given['takeover_after']:g}")


def _show(cells: "list[Cell]", board: "Board", given: dict[str, Any]) -> None:
    from bench.sweep.report import cost, statuses, table

    states = statuses(cells, board)
    if given["as_json"]:
        print_json(
            [
                {"cell": cell.key, "title": cell.title, "state": state.state, "note": state.note}
                for cell in cells
                for state in [states[cell.key]]
            ]
        )
        return
    print_result(table(cells, states))
    if given["dry_run"]:
        print_result(cost(cells, states, given["jobs"]))


def _earlier(call: Path | None, cells: "list[Cell]", board: "Board", leases: "Leases") -> dict[str, str]:
    """Failures known when the sweep was started, key → token; a worker process is told them by a file."""
    from bench.core.files import read_json

    if call is not None:
        return dict(read_json(call))
    failed = {cell.key: failure["token"] for cell in cells if (failure := board.failure(cell))}
    for key in failed:
        leases.forgive(key)
    return failed


def _work(
    cells: "list[Cell]",
    board: "Board",
    leases: "Leases",
    earlier: dict[str, str],
    given: dict[str, Any],
    progress: "Progress",
) -> None:
    from bench.sweep.part import part_of
    from bench.sweep.work import Worker, run_cell

    tracker = tracker_of(given["tracking"] or cells[0].job.config.tracking, progress)
    worker = Worker(
        cells,
        part_of(cells, given["index"], given["count"]),
        board,
        leases,
        lambda cell: run_cell(cell, tracker, progress),
        progress,
        earlier,
        given["retry"],
    )
    worker.work()


def _manage(
    file: Path,
    cells: "list[Cell]",
    board: "Board",
    earlier: dict[str, str],
    given: dict[str, Any],
    progress: "Progress",
) -> None:
    """Run worker processes to their end, and say what changes."""
    from bench.core.files import write_json
    from bench.core.temporary import scratch_folder
    from bench.sweep.local import Workers, worker_command
    from bench.sweep.watch import Watch

    watch = Watch(cells, board, progress.say)
    with scratch_folder() as scratch:
        write_json(scratch / "call.json", earlier)
        words = ["sweep", str(file), *_local_words(given), "--retry", str(given["retry"])]
        words += [
            "--takeover-after",
            f"{given['takeover_after']:g}",
            "--yes",
            "--worker",
            str(scratch / "call.json"),
        ]
        words += ["--index", str(given["index"]), "--count", str(given["count"])]
        workers = Workers(worker_command(words), given["jobs"], given["gpus_per_cell"], scratch / "logs")
        with watch.shown(table=sys.stderr.isatty() and not given["quiet"]):
            ended_well = workers.run(watch.look)
        if not ended_well:
            raise UserError(f"workers ended early: {workers.said()}")


def _tasks(
    cells: "list[Cell]", board: "Board", earlier: dict[str, str], given: dict[str, Any], progress: "Progress"
) -> None:
    """Do the cells as tasks of Ray, and say what changes."""
    from bench.sweep.on_ray import run_on_ray
    from bench.sweep.watch import Watch

    watch = Watch(cells, board, progress.say)
    with watch.shown(table=sys.stderr.isatty() and not given["quiet"]):
        run_on_ray(
            cells,
            address=given["ray_address"],
            jobs=given["jobs"],
            gpus_per_cell=given["gpus_per_cell"],
            earlier=earlier,
            retry=given["retry"],
            patience=given["takeover_after"],
            look=watch.look,
        )


def _submit(file: Path, cells: "list[Cell]", given: dict[str, Any], progress: "Progress") -> None:
    from bench.core.names import slug
    from bench.sweep.local import worker_command
    from bench.sweep.slurm import submit

    out = cells[0].job.config.out
    seeds = sum(cell.kind == "seed" for cell in cells)
    words = ["sweep", str(file.resolve()), *_local_words({**given, "out": out.resolve()}), "--yes", "--quiet"]
    jobs = submit(
        worker_command(words),
        out / "sweeps" / slug(file.stem),
        name=slug(file.stem),
        count=min(given["jobs"], seeds),
        options=given["sbatch"],
    )
    progress.say(f"submitted as {', '.join(jobs)}; `bench sweep {file} --status` shows how far it is")


def _local_words(given: dict[str, Any]) -> list[str]:
    """The words of settings of this machine; an address that may hold a secret goes by the environment."""
    from bench.core.secrets import redact
    from bench.runs.job import STORAGE_VARIABLE
    from bench.tracking.settings import ENVIRONMENT

    words = []
    for name in LOCAL:
        if name == "storage":
            if given[name]:
                os.environ[STORAGE_VARIABLE] = given[name]
        elif name == "tracking" and given[name] and redact(given[name]) != given[name]:
            os.environ[ENVIRONMENT["uri"]] = given[name]
        elif given[name] not in (None, False):
            words += [f"--{name.replace('_', '-')}"] + ([] if given[name] is True else [str(given[name])])
    return words


def _conclude(cells: "list[Cell]", board: "Board", given: dict[str, Any], progress: "Progress") -> None:
    """Print the paths of records, draw the pages, and list what failed."""
    from bench.runs.run import build_pages
    from bench.sweep.report import failures, one_line, statuses

    states = statuses(cells, board)
    done = [cell for cell in cells if cell.kind == "seed" and states[cell.key].state == "done"]
    print_paths([cell.result for cell in done], given["as_json"])
    out = cells[0].job.config.out
    everything = given["count"] == 1
    if done and everything:
        page = build_pages(
            out, tracker_of(given["tracking"] or cells[0].job.config.tracking, progress), progress
        )
        if page:
            progress.say(f"pages: {page}")
    progress.say(one_line(states))
    lost = failures(cells, states)
    for line in lost:
        click.echo(f"failed: {line}", err=True)
    if lost or (everything and any(status.state != "done" for status in states.values())):
        sys.exit(1)
