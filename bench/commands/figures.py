"""`bench figures`."""

from pathlib import Path
from typing import Any

import click

from bench.cli_options import FilePath, data_options
from bench.core.errors import UserError

#: What only a checkpoint needs to be told; a record says it itself.
OF_A_CHECKPOINT = ("model", "dataset", "download", "image_size", "train_size", "test_size", "threat")


@click.command()
@click.argument("result", metavar="RECORD|CHECKPOINT", type=FilePath)
@click.option("--out", type=FilePath, help="Folder for the figures.  [default: figures/NAME]")
@click.option(
    "--metrics",
    metavar="NAME[,NAME…]",
    help="What to measure where the record lacks it; `bench list metrics`.  [default: the geometry battery]",
)
@click.option("--no-measure", is_flag=True, help="Draw only what lies beside the record.")
@click.option("--checkpoint", type=FilePath, help="The record's weights, where they do not lie beside it.")
@click.option("--loader", metavar="MODULE:FUNCTION", help="Makes the network, where it is none of ours.")
@click.option("--trust", is_flag=True, help="Run the code that the record names as module:function.")
@click.option("--model", metavar="NAME", help="Network of a checkpoint; see `bench list models`.")
@click.option(
    "--threat", metavar="NORM:EPS", help="For a checkpoint, such as linf:8/255.  [default: per data set]"
)
@data_options
@click.option("--device", metavar="NAME", help="auto, cpu or cuda.  [default: auto]")
@click.option("--quiet", is_flag=True, help="No progress.")
def figures(
    result: Path,
    out: Path | None,
    metrics: str | None,
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
    """
    given = {name: value for name, value in given.items() if value is not None}
    names = [name.strip() for name in (metrics or "").split(",") if name.strip()]
    if not result.exists():
        raise UserError(f"no such record or checkpoint: {result}")
    if result.is_dir() and not (result / "record.json").exists():
        below = sorted(result.rglob("record.json"))
        guess = f"; the first of {len(below)} below it lies in {below[0].parent}" if below else ""
        raise UserError(f"expected a record.json in {result}, found none{guess}")
    if names and no_measure:
        raise UserError(
            "--metrics says what to measure and --no-measure to measure nothing; give one of them"
        )
    if not (result.is_dir() or result.suffix == ".json"):
        page = _of_checkpoint(result, out, names, no_measure, checkpoint, loader, quiet, given)
    elif wrong := [name for name in OF_A_CHECKPOINT if name in given]:
        option = wrong[0].replace("_", "-")
        raise UserError(f"--{option} is for a checkpoint; the record {result} says it itself")
    else:
        page = _of_record(result, out, names, no_measure, checkpoint, loader, trust, quiet, given)
    click.echo(page)


def _of_record(
    record: Path,
    out: Path | None,
    metrics: list[str],
    no_measure: bool,
    weights: Path | None,
    loader: str | None,
    trust: bool,
    quiet: bool,
    given: dict[str, Any],
) -> Path:
    from bench.core.record import load_record
    from bench.display import make_progress
    from bench.drawing import draw_record
    from bench.run import safe_name

    return draw_record(
        record,
        out or Path("figures") / safe_name(load_record(record).id),
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
    out: Path | None,
    metrics: list[str],
    no_measure: bool,
    weights: Path | None,
    loader: str | None,
    quiet: bool,
    given: dict[str, Any],
) -> Path:
    if no_measure or weights is not None:
        option = "--no-measure" if no_measure else "--checkpoint"
        raise UserError(
            f"{option} is for a record; {checkpoint} is taken for weights (a record ends in .json)"
        )
    if loader is None and "model" not in given:
        raise UserError(
            "a checkpoint needs --model NAME (see `bench list models`) or --loader module:function"
        )

    from bench.config import RunConfig
    from bench.display import make_progress
    from bench.drawing import draw_checkpoint
    from bench.run import safe_name

    given.setdefault("model", (loader or "").rpartition(":")[2])
    config = RunConfig.make({**given, "defense": "external", "metrics": metrics})
    place = out or Path("figures") / safe_name(checkpoint.stem)
    return draw_checkpoint(config, checkpoint, place, loader, make_progress(quiet))
