"""The runs of a sweep's file: every combination of the listed settings, less those left out."""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.errors import UserError, unknown_name
from bench.core.values import shown, whole_numbers
from bench.runs.config import LISTS, RunConfig, load_yaml

#: Keys of a sweep's file that are no settings of a run.
ZIP, EXCLUDE, OVERRIDE, WHEN = "zip", "exclude", "override", "when"
#: More runs than this need a confirmation: a file with one list too many is a common mistake.
MANY = 1000
#: More combinations than this are not gone through.
MOST = 100_000


@dataclass(frozen=True)
class Axis:
    """Settings that vary together: each choice gives some of them."""

    choices: tuple[dict[str, Any], ...]


def read_sweep(path: Path, local: Mapping[str, Any] | None = None, *, many: bool = True) -> list[RunConfig]:
    """The runs of a sweep's file, each with one seed, in the order of its lists; seeds vary fastest.

    Args:
        path: YAML with settings of `bench run`, of which any may be a list, and with `zip`, `exclude`, `override`.
        local: settings of this machine, such as `out`, which replace those of the file.
        many: allow more than `MANY` runs.

    Raises:
        UserError: for an unknown key, a bad value, contradicting overrides, a condition that fits no run, two runs
            that are the same, none, or more than `MOST` combinations.
    """
    return combinations(load_yaml(path), local or {}, str(path), many=many)


def combinations(
    given: Mapping[str, Any], local: Mapping[str, Any], where: str, *, many: bool = True
) -> list[RunConfig]:
    """The runs of settings that are read already.

    Args:
        given, local, many: as in `read_sweep`.
        where: their place, for messages.

    Raises:
        UserError: as for `read_sweep`.
    """
    given = dict(given)
    special = {key: given.pop(key, None) for key in (ZIP, EXCLUDE, OVERRIDE)}
    for key in given:
        if key not in RunConfig.model_fields:
            raise unknown_name("setting", key, [*RunConfig.model_fields, *special])
    given |= {key: value for key, value in local.items() if value is not None}
    zipped = [_zipped(each, given) for each in _mappings(special[ZIP], ZIP)]
    seeds = given.pop("seeds", [0]) if not _varies("seeds", zipped) else None
    axes = [*_axes(given), *zipped]
    if seeds is not None:
        axes.append(Axis(tuple({"seeds": [seed]} for seed in _seeds(seeds))))
    excluded = [_condition(each, EXCLUDE) for each in _mappings(special[EXCLUDE], EXCLUDE)]
    overrides = [_override(each) for each in _mappings(special[OVERRIDE], OVERRIDE)]
    number = math.prod(len(axis.choices) for axis in axes)
    if number > MOST:
        raise UserError(
            f"{where}: its lists make {shown(number)} combinations, expected at most {MOST:,}; shorten "
            f"them, or let some vary together with `{ZIP}`"
        )
    cells = list(_cells(axes, excluded, overrides))
    if not many:
        refuse_many(len(cells), where)
    configs: dict[str, RunConfig] = {}
    for cell in cells:
        config = _config(cell)
        written = config.model_dump_json()
        if written in configs:
            raise UserError(
                f"{where}: two runs are the same: {' '.join(config.words())}; name each value once"
            )
        configs[written] = config
    if not configs:
        raise UserError(f"{where}: no run is left; a list is empty, or `{EXCLUDE}` leaves out every run")
    return list(configs.values())


def refuse_many(runs: int, where: str) -> None:
    """Refuse more than `MANY` runs.

    Raises:
        UserError: with the option that lets them be done.
    """
    if runs > MANY:
        raise UserError(f"{where} has {runs:,} runs; give --yes if that is meant")


def _cells(
    axes: list[Axis], excluded: list[dict[str, Any]], overrides: list[tuple[dict[str, Any], dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    left_out, changed = set[int](), set[int]()
    for choices in itertools.product(*(axis.choices for axis in axes)):
        cell: dict[str, Any] = {}
        for choice in choices:
            for key, value in choice.items():
                cell[key] = {**cell.get(key, {}), **_named(value)} if key == "set" else value
        fits = [at for at, condition in enumerate(excluded) if _fits(condition, cell)]
        left_out.update(fits)
        if fits:
            continue
        fits = [at for at, (condition, _) in enumerate(overrides) if _fits(condition, cell)]
        changed.update(fits)
        yield _overridden(cell, [overrides[at][1] for at in fits])
    _refuse_idle(EXCLUDE, excluded, left_out)
    _refuse_idle(OVERRIDE, [condition for condition, _ in overrides], changed)


def _refuse_idle(where: str, conditions: list[dict[str, Any]], used: set[int]) -> None:
    for at, condition in enumerate(conditions):
        if at not in used:
            raise UserError(
                f"{where}: no run has {_words(condition)}; write values as the lists do, or delete the entry"
            )


def _overridden(cell: dict[str, Any], overrides: list[dict[str, Any]]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for change in overrides:
        for key, value in change.items():
            if key in changes and changes[key] != value:
                raise UserError(
                    f"{OVERRIDE}: {key} is both {shown(changes[key])} and {shown(value)} for the run with "
                    f"{_words(cell)}; narrow one `{WHEN}`"
                )
            changes[key] = value
    merged = {**cell, **changes}
    if "set" in cell and "set" in changes:
        merged["set"] = {**cell["set"], **_named(changes["set"])}
    return merged


def _config(cell: dict[str, Any]) -> RunConfig:
    try:
        if "defense" not in cell:
            raise UserError("defense is missing; `bench list defenses` names them")
        return RunConfig.make(cell)
    except UserError as error:
        raise UserError(f"the run with {_words(cell)}: {error}") from None


def _axes(given: dict[str, Any]) -> Iterator[Axis]:
    for key, value in given.items():
        if key == "set" and isinstance(value, dict):
            for name, each in value.items():
                values = each if isinstance(each, list) else [each]
                yield Axis(tuple({"set": {name: one}} for one in values))
        else:
            yield Axis(tuple({key: each} for each in _values(key, value)))


def _named(hyperparameters: Any) -> dict[str, Any]:
    if not isinstance(hyperparameters, dict | None):
        raise UserError(f"set: expected names with values, got {shown(hyperparameters)}")
    return hyperparameters or {}


def _values(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    if key in LISTS and not any(isinstance(each, list) for each in value):
        return [value]
    return value


def _seeds(given: Any) -> tuple[int, ...]:
    try:
        return whole_numbers(given)
    except ValueError as error:
        raise UserError(f"seeds: {error}") from None


def _zipped(group: dict[str, Any], given: dict[str, Any]) -> Axis:
    lengths = {key: len(value) if isinstance(value, list) else 0 for key, value in group.items()}
    for key in group:
        if key not in RunConfig.model_fields:
            raise unknown_name(f"setting in {ZIP}", key, RunConfig.model_fields)
        if key in given:
            raise UserError(f"{key} stands in {ZIP} and beside it; keep one")
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise UserError(
            f"{ZIP}: expected lists of one length, got "
            + ", ".join(f"{key} with {length or 'no list'}" for key, length in lengths.items())
        )
    columns = [group[key] for key in group]
    return Axis(
        tuple(
            {key: [value] if key == "seeds" else value for key, value in zip(group, row, strict=True)}
            for row in zip(*columns, strict=True)
        )
    )


def _varies(key: str, axes: list[Axis]) -> bool:
    return any(key in choice for axis in axes for choice in axis.choices)


def _mappings(value: Any, key: str) -> list[dict[str, Any]]:
    found = value if isinstance(value, list) else [] if value is None else [value]
    for each in found:
        if not isinstance(each, dict) or not each:
            raise UserError(f"{key}: expected a list of settings with values, got {shown(each)}")
    return [{str(name).replace("-", "_"): one for name, one in each.items()} for each in found]


def _condition(condition: Any, where: str) -> dict[str, Any]:
    if not isinstance(condition, dict) or not condition:
        raise UserError(f"{where}: expected settings with values, got {shown(condition)}")
    for key in condition:
        if key not in RunConfig.model_fields:
            raise unknown_name(f"setting in {where}", key, RunConfig.model_fields)
    return condition


def _override(entry: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    if WHEN not in entry or len(entry) < 2:
        raise UserError(
            f"{OVERRIDE}: each entry needs `{WHEN}` and a setting to change, got {', '.join(entry)}"
        )
    change = _condition({key: value for key, value in entry.items() if key != WHEN}, OVERRIDE)
    return _condition(entry[WHEN], f"{OVERRIDE}, {WHEN}"), change


def _fits(condition: dict[str, Any], cell: dict[str, Any]) -> bool:
    """Whether a run has every value of a condition; a list in a condition stands for any of its values."""
    for key, wanted in condition.items():
        value = cell.get(key, RunConfig.model_fields[key].default)
        if key == "seeds" and isinstance(value, list):
            value = value[0]
        if key == "set":
            if not isinstance(value, dict) or any(
                value.get(name) != one for name, one in _named(wanted).items()
            ):
                return False
        elif value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def _words(cell: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} {shown(value)}" for key, value in cell.items() if key not in ("out", "tracking", "storage")
    )
