"""`bench study`."""

from pathlib import Path
from typing import Any

import click

from bench.cli.cells import carry_out, cell_options, conclude, execution_of, may_be_many
from bench.cli.options import quiet_option
from bench.cli.streams import print_result
from bench.cli.types import FOLDER, FOLDER_TO_WRITE, PATH, TEXT


@click.command()
@click.argument("file", type=PATH)
@click.option(
    "--out",
    type=FOLDER_TO_WRITE,
    default=Path("runs"),
    show_default=True,
    help="Folder for runs; the page goes to OUT/studies/NAME.",
)
@click.option("--data-dir", type=FOLDER, help="Where torchvision's files are.  [default: data]")
@click.option(
    "--tracking", type=TEXT, metavar="URI", help="MLflow tracking URI, or none.  [default: mlflow.yaml]"
)
@cell_options
@click.option("--check", is_flag=True, help="Only check the file, and say what it would train.")
@click.option(
    "--page", is_flag=True, help="Only write the page of what is finished; the rest is listed as missing."
)
@quiet_option
def study(file: Path, check: bool, page: bool, **given: Any) -> None:
    """Train and measure what a paper's table or regression needs, and set our numbers beside its own.

    FILE.yaml names networks, data sets and settings; `studies/` has those of the papers. Giving the same command
    again goes on where a stopped study was, and does nothing twice. Its trainings are cells, as those of a sweep.
    """
    from bench.study import load_study, plan_study
    from bench.study.outline import outline

    if check:
        print_result(outline(load_study(file)))
        return
    from bench.cli.display import make_progress
    from bench.sweep.execution import Sweep
    from bench.sweep.matrix import refuse_many

    how = execution_of(given)
    planned = plan_study(file, out=given["out"], data_dir=given["data_dir"])
    if not (page or may_be_many(given)):
        refuse_many(sum(cell.kind == "seed" for cell in planned.cells), str(file))
    cells = Sweep(planned.cells, how)
    progress = make_progress(given["quiet"])
    if page:
        print_result(planned.write_page(cells.board, progress))
        return
    if not carry_out(cells, file, ["study", "--yes"], given, progress):
        return
    if how.count == 1:
        print_result(planned.write_page(cells.board, progress))
    conclude(cells, progress)
