"""Options that several commands share. Those of a run follow from `bench.runs.config.RunConfig`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import click

from bench.cli.streams import print_result
from bench.cli.types import ASSIGNMENT, NUMBER, PATH, TEXT, WHOLE

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from bench.core.progress import Progress
    from bench.runs.options import Option

quiet_option = click.option("--quiet", is_flag=True, help="No progress.")
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print the record paths as JSON, nothing else."
)
#: The type of a setting → the type of its option; text for every other.
_TYPES = {int: WHOLE, float: NUMBER, Path: PATH, dict: ASSIGNMENT}
#: Parameters that come after the settings of a run.
LAST = ("device", "as_json", "quiet")


class SettingsCommand(click.Command):
    """A command with options for settings of a run, made when they are first needed.

    They come from a pydantic model, which `bench --help` need not import.

    Args:
        settings: groups of settings, or names of single ones.
    """

    def __init__(self, *args: Any, settings: Sequence[str], **rest: Any) -> None:
        super().__init__(*args, **rest)
        self._settings = settings

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Every parameter: the command's own, settings, and those that all commands end with."""
        if self._settings:
            own = [each for each in self.params if each.name not in LAST]
            last = [each for each in self.params if each.name in LAST]
            self.params = [*own, *settings_options(self._settings), *last]
            self._settings = ()
        return super().get_params(ctx)


def settings_options(wanted: Sequence[str]) -> list[click.Option]:
    """The click options of some settings of a run, by group; each is None, or (), where it is not given."""
    from bench.runs.config import RunConfig

    fields, options = RunConfig.model_fields, RunConfig.options()
    return [
        _click_option(name, fields[name], option)
        for each in wanted
        for name, option in options.items()
        if each in (name, option.group)
    ]


def _click_option(name: str, field: "FieldInfo", option: "Option") -> click.Option:
    flag = f"--{name.replace('_', '-')}"
    flags = [f"--{option.alias}", flag, name] if option.alias else [flag]
    kinds = _kinds(field.annotation)
    if bool in kinds:
        return click.Option([flag], is_flag=True, default=None, help=option.help)
    kind = next((kind for python, kind in _TYPES.items() if python in kinds), TEXT)
    default = option.shown_default or _shown(field.get_default())
    return click.Option(
        flags,
        type=kind,
        multiple=dict in kinds,
        metavar=option.metavar or None,
        help=f"{option.help}  [default: {default}]" if default else option.help,
    )


def _kinds(annotation: Any) -> set[Any]:
    """The types that a value of an annotation may have: of `Annotated[int, …] | None`, int and NoneType."""
    if get_origin(annotation) in (tuple, dict):
        return {get_origin(annotation)}
    parts = get_args(annotation)
    return {kind for part in parts for kind in _kinds(part)} if parts else {annotation}


def _shown(default: Any) -> str:
    if isinstance(default, tuple):
        return ",".join(map(str, default))
    return str(default) if isinstance(default, str | int | Path) else ""


def tracker_of(uri: str | None, progress: "Progress") -> Any:
    """Make the tracker for an MLflow URI, closed with the command; "none" gives one that logs nothing."""
    from bench.tracking import NullTracker, Tracker, load_settings

    settings = load_settings(uri)
    tracker = Tracker(settings, progress.say) if settings else NullTracker()
    click.get_current_context().call_on_close(tracker.close)
    return tracker


def print_paths(paths: list[Path], as_json: bool) -> None:
    """Print the paths of records on standard output."""
    if as_json:
        print_result(json.dumps([str(path) for path in paths]))
    else:
        for path in paths:
            print_result(path)
