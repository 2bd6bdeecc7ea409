"""`bench study`."""

from pathlib import Path

import click

from bench.cli.options import quiet_option, tracker_of
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
@click.option("--check", is_flag=True, help="Only check the file, and say what it would train.")
@quiet_option
def study(
    file: Path, out: Path, data_dir: Path | None, tracking: str | None, check: bool, quiet: bool
) -> None:
    """Train and measure what a paper's table or regression needs, and set our numbers beside its own.

    FILE.yaml names networks, data sets and settings; `studies/` has those of the papers. Giving the same command
    again goes on where a stopped study was, and does nothing twice.
    """
    from bench.study import load_study, run_study
    from bench.study.outline import outline

    if check:
        print_result(outline(load_study(file)))
        return
    from bench.cli.display import make_progress

    progress = make_progress(quiet)
    tracker = tracker_of(tracking, progress)
    print_result(run_study(file, out=out, data_dir=data_dir, tracker=tracker, progress=progress))
