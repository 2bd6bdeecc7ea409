"""`bench run`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import SettingsCommand, json_option, print_paths, quiet_option, tracker_of
from bench.cli.types import PATH
from bench.core import values
from bench.core.errors import UserError

if TYPE_CHECKING:
    from bench.runs.config import RunConfig


@click.command(cls=SettingsCommand, settings=("training", "data", "result"))
@click.argument("file", required=False, type=PATH)
@json_option
@quiet_option
def run(file: Path | None, as_json: bool, quiet: bool, **given: Any) -> None:
    """Search hyper-parameters, train the best, evaluate, log to MLflow and draw the leaderboard.

    FILE.yaml holds the same settings as keys; options on the command line override it. The same command resumes a
    run that was interrupted, and repeats nothing that is finished.
    """
    from bench.runs.config import RunConfig, load_yaml

    settings = load_yaml(file) if file else {}
    as_json |= _flag(settings, "json")
    quiet |= _flag(settings, "quiet")
    fixed = _fixed(given.pop("set"))
    settings |= {key: value for key, value in given.items() if value is not None}
    if fixed:
        settings["set"] = {**_mapping(settings.get("set")), **fixed}
    if "defense" not in settings:
        raise UserError("--defense is missing; `bench list defenses` names them")
    config = RunConfig.make(settings)
    from bench.core.torchrun import is_worker
    from bench.training.workers import joined, own_device, serve

    config = config.model_copy(update={"device": own_device(config.device)})
    with joined(config.device):
        if is_worker():
            from bench.runs.plan import make_plan

            plan = make_plan(config)
            serve(plan.classifier(0), plan)
        else:
            _run(config, as_json, quiet)


def _run(config: "RunConfig", as_json: bool, quiet: bool) -> None:
    from bench.cli.display import make_progress
    from bench.runs.job import resolve
    from bench.runs.run import build_pages, run_job

    progress = make_progress(quiet)
    tracker = tracker_of(config.tracking, progress)
    # Printed before the pages, which may take a while, so that every finished record is named.
    print_paths(run_job(resolve(config), tracker, progress), as_json)
    page = build_pages(config.out, tracker, progress)
    if page and not as_json:
        progress.say(f"pages: {page}")


def _flag(settings: dict[str, Any], key: str) -> bool:
    try:
        return values.flag(settings.pop(key, False))
    except ValueError as error:
        raise UserError(f"{key}: {error}") from None


def _fixed(assignments: tuple[tuple[str, str], ...]) -> dict[str, str]:
    fixed = dict(assignments)
    if len(fixed) < len(assignments):
        names = [name for name, _ in assignments]
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"--set {twice} is given twice; keep one")
    return fixed


def _mapping(fixed: Any) -> dict[str, Any]:
    if not isinstance(fixed, dict | None):
        raise UserError(f"set: expected names with values, got {values.shown(fixed)}")
    return fixed or {}
