"""What commands that do cells share: their options, and the way from the cells to their results."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import tracker_of
from bench.cli.streams import print_json, print_note, print_result
from bench.cli.types import NUMBER, PATH, TEXT, WHOLE
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.core.progress import Progress
    from bench.sweep.execution import Execution, Sweep

#: Settings of a run that are of this machine.
LOCAL = ("data_dir", "download", "device", "out", "tracking", "storage")
_OPTIONS = (
    click.option("--jobs", type=WHOLE, default=1, show_default=True, help="Processes, or tasks of an array."),
    click.option(
        "--executor",
        type=click.Choice(["local", "slurm", "ray"]),
        default="local",
        show_default=True,
        help="Where they run.",
    ),
    click.option(
        "--gpus-per-cell",
        type=NUMBER,
        default=1.0,
        show_default=True,
        help="CUDA devices of a process; 0.5 lets two share one.",
    ),
    click.option("--sbatch", type=TEXT, multiple=True, metavar="OPTION", help="For Slurm; repeatable."),
    click.option(
        "--ray-address",
        type=TEXT,
        metavar="HOST:PORT",
        help="A Ray cluster, or auto.  [default: RAY_ADDRESS, else one is started here]",
    ),
    click.option(
        "--retry", type=WHOLE, default=0, show_default=True, help="Further tries of a cell that fails."
    ),
    click.option("--index", type=WHOLE, help="Do this part alone, from 0.  [default: of a job array's task]"),
    click.option("--count", type=WHOLE, help="Parts in all.  [default: of a job array]"),
    click.option(
        "--takeover-after",
        type=NUMBER,
        default=60.0,
        show_default=True,
        help="Seconds of silence after which another machine's cell is taken over.",
    ),
    click.option(
        "--dry-run", is_flag=True, help="Show the cells, what exists, and the estimated cost; do nothing."
    ),
    click.option("--status", is_flag=True, help="Show the state of each cell; do nothing."),
    click.option("--yes", is_flag=True, help="Go on with more than 1,000 runs."),
    click.option("--worker", type=PATH, hidden=True),
)


def cell_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say how its cells are done."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def may_be_many(given: Mapping[str, Any]) -> bool:
    """Whether more runs than usual are meant, or none is done."""
    return bool(given["yes"] or given["status"] or given["dry_run"])


def execution_of(given: Mapping[str, Any]) -> "Execution":
    """How cells are done, from the options.

    Raises:
        UserError: for a value that is out of bounds, or one of --index and --count alone.
    """
    from bench.sweep.execution import Execution
    from bench.sweep.part import find_part

    index, count = find_part(given["index"], given["count"])
    same = ("executor", "jobs", "gpus_per_cell", "sbatch", "ray_address", "retry", "takeover_after")
    return Execution(index=index, count=count, **{name: given[name] for name in same})


def carry_out(
    sweep: "Sweep", file: Path, words: Sequence[str], given: Mapping[str, Any], progress: "Progress"
) -> bool:
    """Show the cells, submit them or do them, as the options say; True when they were done and this call ends them.

    Args:
        sweep: the cells.
        file: that names them.
        words: of the command, before the file, and those after it that settings do not give.
        given: the options.
        progress: shows progress.
    """
    command, *more = words
    how, table = sweep.how, sys.stderr.isatty() and not given["quiet"]
    if given["status"] or given["dry_run"]:
        show(sweep, given)
        return False
    told = _told(given["worker"]) if given["worker"] else None
    log = tracker(sweep, given, progress)  # whose settings are refused before anything is written
    if how.executor == "slurm":
        sweep.check_folder(progress.say)
        from bench.core.names import slug

        own = [command, str(file.resolve()), *_local_words({**given, "out": sweep.out.resolve()}), *more]
        jobs = ", ".join(sweep.submit(own, slug(file.stem)))
        progress.say(f"submitted as {jobs}; `bench {command} {file} --status` shows how far it is")
        return False
    with sweep.cluster() as ray:
        sweep.check_folder(progress.say)
        earlier = sweep.forgive() if told is None else told
        if how.executor == "ray":
            sweep.run_on_ray(ray, earlier, progress.say, table=table)
        elif how.jobs == 1:
            sweep.work(earlier, log, progress)
        else:
            own = [command, str(file), *_local_words(given), *more]
            sweep.manage(own, earlier, progress.say, table=table)
    if how.executor == "ray" or how.jobs > 1:  # what their processes said of MLflow, nobody has read
        sweep.catch_up(log)
    return given["worker"] is None


def show(sweep: "Sweep", given: Mapping[str, Any]) -> None:
    """Print the states of the cells, for a dry run with the estimated cost."""
    from bench.sweep.report import cost, table

    states = sweep.states()
    if given.get("as_json"):
        print_json(
            [
                {"cell": cell.key, "title": cell.title, "state": state.state, "note": state.note}
                for cell in sweep.cells
                for state in [states[cell.key]]
            ]
        )
        return
    print_result(table(sweep.cells, states))
    if given["dry_run"]:
        print_result(cost(sweep.cells, states, sweep.how.jobs))


def tracker(sweep: "Sweep", given: Mapping[str, Any], progress: "Progress") -> Any:
    """The tracker that the options name, else the sweep's own."""
    return tracker_of(given["tracking"] or sweep.cells[0].job.config.tracking, progress)


def conclude(sweep: "Sweep", progress: "Progress") -> None:
    """Say how the cells stand and list what failed, with exit code 1 where not all that this call does are done."""
    from bench.sweep.report import failures, one_line

    states = sweep.states()
    progress.say(one_line(states))
    lost = failures(sweep.cells, states)
    for line in lost:
        print_note(f"failed: {line}")
    if lost or (sweep.how.count == 1 and any(status.state != "done" for status in states.values())):
        sys.exit(1)


def _told(call: Path) -> dict[str, str]:
    """The failures that were known when the sweep was started, which its worker processes read from a file."""
    from bench.core.files import read_json

    found = read_json(call)
    if not isinstance(found, dict):
        raise UserError(f"{call}: expected failures by cell, got {type(found).__name__}")
    return found


def _local_words(given: Mapping[str, Any]) -> list[str]:
    """The words of settings of this machine; an address that may hold a secret goes by the environment."""
    from bench.core.secrets import redact
    from bench.runs.job import STORAGE_VARIABLE
    from bench.tracking.settings import ENVIRONMENT

    words = []
    for name in LOCAL:
        value = given.get(name)
        if value in (None, False):
            continue
        if name == "storage":
            os.environ[STORAGE_VARIABLE] = value
        elif name == "tracking" and redact(value) != value:
            os.environ[ENVIRONMENT["uri"]] = value
        else:
            words += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    return words
