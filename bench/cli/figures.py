"""`bench figures`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import SettingsCommand, quiet_option
from bench.cli.streams import print_result
from bench.cli.types import DEVICE, FOLDER_TO_WRITE, NAMES, PATH, PLACE, WORD
from bench.core.errors import UserError
from bench.core.values import folder_to_write

if TYPE_CHECKING:
    from bench.results.figure_pages import FigurePage

#: What only a checkpoint needs to be told; a record says it itself.
OF_A_CHECKPOINT = (
    "model",
    "dataset",
    "download",
    "image_size",
    "class_order",
    "train_size",
    "test_size",
    "threat",
)


@click.command(cls=SettingsCommand, settings=("data",))
@click.argument("results", metavar="RECORD|CHECKPOINT…", type=PATH, nargs=-1, required=True)
@click.option(
    "--out",
    type=FOLDER_TO_WRITE,
    help="Folder for the figures; of several results, for a folder each.  [default: figures/NAME]",
)
@click.option(
    "--metrics",
    type=NAMES,
    default=(),
    metavar="NAME[,NAME…]",
    help="What to measure where the record lacks it; `bench list metrics`.  [default: the geometry battery]",
)
@click.option("--no-measure", is_flag=True, help="Draw only what lies beside the record.")
@click.option("--checkpoint", type=PATH, help="The record's weights, where they do not lie beside it.")
@click.option(
    "--loader", type=PLACE, metavar="MODULE:FUNCTION", help="Makes the network, where it is none of ours."
)
@click.option("--trust", is_flag=True, help="Run the code that the record names as module:function.")
@click.option("--model", type=WORD, metavar="NAME", help="Network of a checkpoint; see `bench list models`.")
@click.option(
    "--threat",
    type=WORD,
    metavar="NORM:EPS",
    help="For a checkpoint, such as linf:8/255.  [default: per data set]",
)
@click.option("--device", type=DEVICE, metavar="NAME", help="auto, cpu, cuda or cuda:N.  [default: auto]")
@quiet_option
def figures(
    results: tuple[Path, ...],
    out: Path | None,
    metrics: tuple[str, ...],
    no_measure: bool,
    checkpoint: Path | None,
    loader: str | None,
    trust: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Draw every figure of a result: pictures, interactive pages, tables and data, on one page.

    RECORD is a record.json or its folder; what it lacks of the geometry battery is measured with its weights, once.
    CHECKPOINT is weights of --model NAME or --loader, evaluated with the geometry battery first.

    Of several results, say of a natural and of a robust network, the figures that they have in common are also
    drawn beside each other, on the same axes and colors, on a page of their own.
    """
    given = {name: value for name, value in given.items() if value is not None}
    names = list(metrics)
    for result in results:
        _check(result)
    if names and no_measure:
        raise UserError(
            "--metrics says what to measure and --no-measure to measure nothing; give one of them"
        )
    if checkpoint is not None and len(results) > 1:
        raise UserError("--checkpoint gives the weights of one record; draw that one alone first")
    places = [result.resolve() for result in results]
    if twice := [result for at, result in enumerate(results) if places[at] in places[:at]]:
        raise UserError(f"{twice[0]} is given twice")
    records = [result for result in results if _is_record(result)]
    if len(records) == len(results) and (wrong := [name for name in OF_A_CHECKPOINT if name in given]):
        option = wrong[0].replace("_", "-")
        raise UserError(f"--{option} is for a checkpoint; the record {results[0]} says it itself")
    for_record = {name: value for name, value in given.items() if name not in OF_A_CHECKPOINT}
    folders = _folders(results, out)
    _check_writable(folders[0])
    drawn = [
        _of_record(result, folder, names, no_measure, checkpoint, loader, trust, quiet, for_record)
        if _is_record(result)
        else _of_checkpoint(result, folder, names, no_measure, checkpoint, loader, quiet, given)
        for result, folder in zip(results, folders, strict=True)
    ]
    if len(drawn) == 1:
        print_result(drawn[0].page)
        return
    from bench.cli.display import make_progress
    from bench.results.figure_pages import draw_side_by_side

    print_result(draw_side_by_side(drawn, out or Path("figures"), make_progress(quiet)))


def _check_writable(folder: Path) -> None:
    try:
        folder_to_write(folder)
    except ValueError as error:
        raise UserError(str(error)) from None


def _check(result: Path) -> None:
    if not result.exists():
        raise UserError(f"no such record or checkpoint: {result}")


def _is_record(result: Path) -> bool:
    return result.is_dir() or result.suffix == ".json"


def _folders(results: tuple[Path, ...], out: Path | None) -> list[Path]:
    """Where each result's own figures go: to `--out` itself, or for several to a folder each below it."""
    from bench.core.names import safe_name
    from bench.core.record import load_record

    if out is not None and len(results) == 1:
        return [out]
    folders: list[Path] = []
    for result in results:
        name = safe_name(load_record(result).id if _is_record(result) else result.stem)
        taken = sum(folder.name == name or folder.name.startswith(f"{name}-again") for folder in folders)
        folders.append((out or Path("figures")) / (f"{name}-again{taken}" if taken else name))
    return folders


def _of_record(
    record: Path,
    out: Path,
    metrics: list[str],
    no_measure: bool,
    weights: Path | None,
    loader: str | None,
    trust: bool,
    quiet: bool,
    given: dict[str, Any],
) -> "FigurePage":
    from bench.cli.display import make_progress
    from bench.results.figure_pages import draw_record

    return draw_record(
        record,
        out,
        metrics=metrics,
        measure=not no_measure,
        weights=weights,
        loader=loader,
        trust=trust,
        progress=make_progress(quiet),
        **given,
    )


def _of_checkpoint(
    checkpoint: Path,
    out: Path,
    metrics: list[str],
    no_measure: bool,
    weights: Path | None,
    loader: str | None,
    quiet: bool,
    given: dict[str, Any],
) -> "FigurePage":
    if no_measure or weights is not None:
        option = "--no-measure" if no_measure else "--checkpoint"
        raise UserError(
            f"{option} is for a record; {checkpoint} is taken for weights (a record ends in .json)"
        )
    if loader is None and "model" not in given:
        raise UserError(
            "a checkpoint needs --model NAME (see `bench list models`) or --loader module:function"
        )

    from bench.cli.display import make_progress
    from bench.results.figure_pages import draw_checkpoint
    from bench.runs.config import RunConfig

    named = {"model": (loader or "").rpartition(":")[2], **given}
    config = RunConfig.make({**named, "defense": "external", "metrics": metrics})
    return draw_checkpoint(config, checkpoint, out, loader, make_progress(quiet))
