"""`bench run`."""

from pathlib import Path
from typing import Any

import click

from bench.cli.options import FilePath, data_options, print_paths, progress_shown, result_options, tracker_of
from bench.core.errors import UserError


@click.command()
@click.argument("file", required=False, type=FilePath)
@click.option("--defense", metavar="NAME", help="A name of `bench list defenses`, or module:Class.")
@click.option(
    "--set", "assignments", multiple=True, metavar="NAME=VALUE", help="Fix a hyper-parameter; repeatable."
)
@click.option(
    "--recipe",
    metavar="NAME[,FIELD=VALUE…]",
    help="paper; strong (SGD, for networks with batch norm); or one with changes.  [default: paper]",
)
@click.option("--epochs", type=int, help="Passes over the training data.  [default: per data set]")
@click.option("--trials", type=int, help="Settings to try; 0 takes the defaults.  [default: per data set]")
@click.option(
    "--clean-floor",
    type=float,
    help="Validation clean accuracy a setting must reach.  [default: the defaults' less 0.10]",
)
@click.option("--seeds", metavar="N[,N…]", help="Seeds the best setting is trained with.  [default: 0]")
@click.option(
    "--probe-every",
    type=int,
    metavar="K",
    help="Look at regions and robustness after every K epochs.  [default: off]",
)
@click.option("--probe-images", type=int, help="Test images a probe attacks.  [default: 500]")
@click.option("--precision", metavar="NAME", help="Of training: auto (fp32), fp32 or bf16.  [default: auto]")
@data_options
@result_options
def run(
    file: Path | None, assignments: tuple[str, ...], as_json: bool | None, quiet: bool | None, **given: Any
) -> None:
    """Search hyper-parameters, train the best, evaluate, log to MLflow and draw the leaderboard.

    FILE.yaml holds the same words as keys; options on the command line win over it. Giving the same command again
    goes on where a stopped run was, and does nothing twice.
    """
    from bench.runs.config import RunConfig, load_yaml

    values = load_yaml(file) if file else {}
    values |= {key: value for key, value in given.items() if value is not None}
    if assignments:
        values["set"] = {**(values.get("set") or {}), **dict(map(_assignment, assignments))}
    if isinstance(values.get("seeds"), str | int):
        values["seeds"] = _seeds(str(values["seeds"]))
    as_json = as_json or bool(values.pop("json", False))
    quiet = quiet or bool(values.pop("quiet", False))
    if "defense" not in values:
        raise UserError("--defense is missing; `bench list defenses` names them")
    config = RunConfig.make(values)
    progress = progress_shown(quiet)

    from bench.runs.run import run as run_config

    paths = run_config(config, tracker_of(config.tracking, progress), progress)
    if not as_json:
        progress.say(f"pages: {config.out / 'site' / 'index.html'}")
    print_paths(paths, as_json)


def _assignment(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--set {text!r} must have the form name=value")
    return name.strip(), value.strip()


def _seeds(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--seeds must be whole numbers such as 0,1,2, got {text!r}") from None
