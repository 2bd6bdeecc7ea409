"""Options that several commands share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from bench.core.progress import Progress

Command = TypeVar("Command", bound=Callable[..., Any])
FilePath = click.Path(path_type=Path)


def data_options(command: Command) -> Command:
    """What data, and how much of it."""
    for option in reversed(
        [
            click.option(
                "--dataset",
                metavar="NAME",
                help="A name of `bench list datasets`, or imagefolder:PATH.  [default: digits]",
            ),
            click.option("--data-dir", type=FilePath, help="Where torchvision's files are.  [default: data]"),
            click.option(
                "--download", is_flag=True, default=None, help="Fetch missing files into the data folder."
            ),
            click.option(
                "--image-size", type=int, help="Resize and crop the images of a folder to this side."
            ),
            click.option("--train-size", type=int, help="Training images to use.  [default: all]"),
            click.option("--test-size", type=int, help="Test images to use.  [default: all]"),
        ]
    ):
        command = option(command)
    return command


def result_options(command: Command) -> Command:
    """How to measure, and where results go."""
    for option in reversed(
        [
            click.option(
                "--model", metavar="NAME", help="Network; see `bench list models`.  [default: cnn6]"
            ),
            click.option(
                "--threat", metavar="NORM:EPS", help="Such as linf:8/255 or l2:0.5.  [default: per data set]"
            ),
            click.option(
                "--battery",
                metavar="NAME",
                help="quick, standard, full or geometry; `bench list batteries`.  [default: quick]",
            ),
            click.option(
                "--metrics",
                metavar="NAME[,NAME…]",
                help="Measure just these, on as many images as the battery; `bench list metrics`, module:Class, or "
                "with arguments, such as 'prs_by_layer(train_images=1000)'.",
            ),
            click.option(
                "--suspicious",
                is_flag=True,
                default=None,
                help="Answer a raised alarm with more steps, restarts, transfer, noise and larger balls.",
            ),
            click.option("--device", metavar="NAME", help="auto, cpu or cuda.  [default: auto]"),
            click.option("--out", type=FilePath, help="Folder for runs, records and pages.  [default: runs]"),
            click.option(
                "--tracking", metavar="URI", help="MLflow tracking URI, or none.  [default: mlflow.yaml]"
            ),
            click.option(
                "--json",
                "as_json",
                is_flag=True,
                default=None,
                help="Print the record paths as JSON, nothing else.",
            ),
            click.option("--quiet", is_flag=True, default=None, help="No progress."),
        ]
    ):
        command = option(command)
    return command


def progress_shown(quiet: bool | None) -> "Progress":
    """Bars, lines or nothing."""
    from bench.cli.display import make_progress

    return make_progress(bool(quiet))


def tracker_of(uri: str | None, progress: "Progress") -> Any:
    """What logs to MLflow at `uri`, or to nothing for "none"."""
    from bench.tracking import NullTracker, Tracker, load_settings

    settings = load_settings(uri)
    return Tracker(settings, progress.say) if settings else NullTracker()


def print_paths(paths: list[Path], as_json: bool | None) -> None:
    """The records' paths on standard output."""
    if as_json:
        click.echo(json.dumps([str(path) for path in paths]))
    else:
        for path in paths:
            click.echo(path)
