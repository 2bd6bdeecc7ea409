"""`bench sweep`."""

from pathlib import Path
from typing import Any

import click

from bench.cli.cells import LOCAL, carry_out, cell_options, conclude, execution_of, may_be_many, tracker
from bench.cli.options import SettingsCommand, print_paths, quiet_option
from bench.cli.types import PATH


@click.command(cls=SettingsCommand, settings=LOCAL)
@click.argument("file", type=PATH)
@cell_options
@click.option("--json", "as_json", is_flag=True, help="Print record paths, or states, as JSON, nothing else.")
@quiet_option
def sweep(file: Path, **given: Any) -> None:
    """Run every combination of the settings in FILE.yaml, of which any may be a list.

    What is finished is skipped, what is half done resumes, and what failed is listed and tried again by the next
    call. Several calls at once, also of several machines on one folder, divide the work among themselves.
    """
    from bench.cli.display import make_progress
    from bench.runs.run import build_pages
    from bench.sweep.cells import Request, make_cells
    from bench.sweep.execution import Sweep
    from bench.sweep.matrix import read_sweep

    how = execution_of(given)
    configs = read_sweep(file, {key: given[key] for key in LOCAL}, many=may_be_many(given))
    cells = Sweep(make_cells([Request(config) for config in configs]), how)
    progress = make_progress(given["quiet"])
    if not carry_out(cells, file, ["sweep", "--yes"], given, progress):
        return
    states = cells.states()
    done = [cell for cell in cells.cells if cell.kind == "seed" and states[cell.key].state == "done"]
    print_paths([cell.result for cell in done], given["as_json"])
    if done and how.count == 1:
        page = build_pages(cells.out, tracker(cells, given, progress), progress)
        if page:
            progress.say(f"pages: {page}")
    conclude(cells, progress)
