"""Read a study file and check it before anything is trained."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from bench.attacks import Attack
from bench.core.errors import UserError, unknown_name
from bench.core.record import describe
from bench.core.values import shown
from bench.runs.config import RunConfig, load_yaml
from bench.study.claims import parse_claim
from bench.study.columns import AttackSettings, Column, parse_column
from bench.study.quantities import REGRESSED
from bench.study.spec import (
    CorrelationStudy,
    PredictorsStudy,
    Study,
    StudyDataset,
    StudyModel,
    TableRow,
    TableStudy,
)
from bench.sweep.matrix import combinations

#: Values of the key `study`.
KINDS = ("correlation", "table", "predictors")

Model = TypeVar("Model", bound=StudyModel)
Value = TypeVar("Value")

#: The settings of `bench run` that a study may set for its trainings.
TRAINING_SETTINGS = (
    "defense",
    "model",
    "dataset",
    "image_size",
    "class_order",
    "threat",
    "set",
    "recipe",
    "epochs",
    "trials",
    "clean_floor",
    "objective",
    "seeds",
    "train_size",
    "test_size",
    "precision",
    "device",
    "probe_every",
    "probe_images",
)


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        UserError: in one line, with the file, the key, what was expected and the nearest known names.
    """
    values = load_yaml(path)
    try:
        kind = values.get("study")
        if kind not in KINDS:
            raise UserError(f"study must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, got {shown(kind)}")
        readers: dict[str, Callable[[dict[str, Any]], Study]] = {
            "correlation": _correlation,
            "table": _table,
            "predictors": _predictors,
        }
        return readers[kind](values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _correlation(values: dict[str, Any]) -> CorrelationStudy:
    for quantity in {**_mapping(values, "published"), **_mapping(values, "claims")}:
        if quantity not in REGRESSED:
            raise unknown_name("quantity", str(quantity), REGRESSED)
    datasets = {
        str(name): _make(StudyDataset, entry, f"datasets.{name}", list(StudyDataset.model_fields))
        for name, entry in _mapping(values, "datasets").items()
    }
    study = _make(CorrelationStudy, {**values, "datasets": datasets}, "", list(CorrelationStudy.model_fields))
    for quantity, networks in study.published.items():
        for network, slopes in networks.items():
            _require_known("network", network, study.models, f"published.{quantity}")
            for name in slopes:
                _require_known("data set", name, study.datasets, f"published.{quantity}.{network}")
    return study


def _table(values: dict[str, Any]) -> TableStudy:
    allowed = [*TableStudy.model_fields, "train", "attacks"]
    _check_keys(values, allowed, "")
    attacks = {
        str(name): _located(f"attacks.{name}", AttackSettings.make, name, entry)
        for name, entry in _mapping(values, "attacks").items()
    }
    columns, bars = _columns(values, "columns", attacks), _columns(values, "bars", attacks)
    if not columns:
        raise UserError("columns: expected at least one, such as clean_accuracy or pgd20@8/255")
    names = [column.name for column in columns]
    shared = _mapping(values, "train")
    rows = {
        str(name): _row(str(name), entry, shared, names) for name, entry in _mapping(values, "rows").items()
    }
    if not rows:
        raise UserError("rows: expected at least one, such as `natural: {defense: standard}`")
    claims = tuple(
        _located("claims", parse_claim, text, list(rows), names) for text in _list(values, "claims")
    )
    rest = {key: value for key, value in values.items() if key not in ("train", "attacks")}
    return _make(
        TableStudy,
        {**rest, "rows": rows, "columns": columns, "bars": bars, "claims": claims},
        "",
        list(TableStudy.model_fields),
    )


def _predictors(values: dict[str, Any]) -> PredictorsStudy:
    _check_keys(values, [*PredictorsStudy.model_fields, "train"], "")
    shared = {"trials": 0, "battery": "indicators", **_mapping(values, "train")}
    groups, broken = (
        {
            str(name): _networks(f"{key}.{name}", entry, shared)
            for name, entry in _mapping(values, key).items()
        }
        for key in ("groups", "broken")
    )
    if not groups:
        raise UserError(
            "groups: expected at least one, such as `standard: {defense: standard, seeds: [0, 1]}`"
        )
    if doubled := sorted(groups.keys() & broken.keys()):
        raise UserError(f"broken.{doubled[0]}: groups has one of this name; choose another")
    rest = {key: value for key, value in values.items() if key != "train"}
    made = {**rest, "groups": groups, "broken": broken}
    return _make(PredictorsStudy, made, "", list(PredictorsStudy.model_fields))


def _networks(where: str, entry: Any, shared: Mapping[str, Any]) -> tuple[RunConfig, ...]:
    """The networks of a group, a sweep whose settings stand over the shared ones."""
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected settings such as {{defense: [standard, at]}}, got {shown(entry)}")
    found = tuple(_located(where, combinations, {**shared, **entry}, {}, "the group"))
    for config in found:
        if config.trials:
            raise UserError(f"{where}: trials must be 0, for a study searches nothing; got {config.trials}")
    return found


def _columns(values: Mapping[str, Any], key: str, attacks: Mapping[str, Attack]) -> tuple[Column, ...]:
    """The columns under a key, with distinct names."""
    columns = tuple(_located(key, parse_column, entry, attacks) for entry in _list(values, key))
    names = [column.name for column in columns]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{key}: {doubled[0]} is named twice")
    return columns


def _row(name: str, entry: Any, shared: Mapping[str, Any], columns: list[str]) -> TableRow:
    where = f"rows.{name}"
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected settings such as {{defense: prs}}, got {entry!r}")
    _check_keys(shared, TRAINING_SETTINGS, "train")
    _check_keys(entry, (*TRAINING_SETTINGS, "paper"), where)
    settings = {**shared, **{key: value for key, value in entry.items() if key != "paper"}}
    if isinstance(settings.get("seeds"), int):
        settings["seeds"] = [settings["seeds"]]
    if "defense" not in settings:
        raise UserError(f"{where}: defense is missing; `bench list defenses` names them")
    paper = _mapping(entry, "paper", where)
    for column in paper:
        _require_known("column", str(column), columns, f"{where}.paper")
    # Unlike `bench run`, a study searches hyper-parameters only when the file sets `trials`.
    config = _located(where, RunConfig.make, {"trials": 0, **settings})
    return _make(TableRow, {"config": config, "paper": paper}, where, ["config", "paper"])


def _make(kind: type[Model], values: Any, where: str, known: Iterable[str]) -> Model:
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected settings by name, got {values!r}")
    _check_keys(values, known, where)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{where}: {describe(error)}".removeprefix(": ")) from None


def _check_keys(values: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in values:
        if key not in known:
            raise UserError(f"{where}: {unknown_name('key', str(key), known)}".removeprefix(": "))


def _require_known(kind: str, name: str, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise UserError(f"{where}: {unknown_name(kind, name, known)}")


def _located(where: str, function: Callable[..., Value], *arguments: Any) -> Value:
    """Call a function; its errors get their place in the file."""
    try:
        return function(*arguments)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _mapping(values: Mapping[str, Any], key: str, where: str = "") -> dict[Any, Any]:
    found = values.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        place = f"{where}.{key}".removeprefix(".")
        raise UserError(f"{place}: expected names with values, got {found!r}")
    return found


def _list(values: Mapping[str, Any], key: str) -> list[Any]:
    found = values.get(key)
    if found is None:
        return []
    if not isinstance(found, list):
        raise UserError(f"{key}: expected a list, got {found!r}")
    return found
