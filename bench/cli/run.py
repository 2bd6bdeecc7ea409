"""`bench run`."""

from pathlib import Path
from typing import Any

import click

from bench.cli.options import FilePath, SettingsCommand, json_option, print_paths, quiet_option, tracker_of
from bench.core.errors import UserError


@click.command(cls=SettingsCommand, settings=("training", "data", "result"))
@click.argument("file", required=False, type=FilePath)
@json_option
@quiet_option
def run(file: Path | None, as_json: bool, quiet: bool, **given: Any) -> None:
    """Search hyper-parameters, train the best, evaluate, log to MLflow and draw the leaderboard.

    FILE.yaml holds the same settings as keys; options on the command line override it. The same command resumes a
    run that was interrupted, and repeats nothing that is finished.
    """
    from bench.runs.config import RunConfig, load_yaml

    values = load_yaml(file) if file else {}
    assignments = given.pop("set")
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
    from bench.cli.display import make_progress
    from bench.runs.run import run as run_config

    progress = make_progress(quiet)

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
