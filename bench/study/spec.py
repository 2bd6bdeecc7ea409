"""What a study file may say, checked before anything is trained."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from bench.attacks import Attack
from bench.core.errors import UserError, unknown_name
from bench.core.record import describe
from bench.runs.config import RunConfig, load_yaml
from bench.study.claims import Claim, parse_claim
from bench.study.columns import AttackSettings, Column, parse_column
from bench.study.regression import Sign

Count = Annotated[int, Field(ge=1)]
Seeds = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
Part = TypeVar("Part", bound="_Part")

#: What a study regresses on the PRS ratio, by the key of the history that holds it.
QUANTITIES = {
    "robust_accuracy": "probe_robust_accuracy",
    "final_layer_cosine": "final_layer_cosine",
    "inclusion_ratio": "inclusion_ratio",
    "sparsity": "sparsity",
}
Quantity = Literal["robust_accuracy", "final_layer_cosine", "inclusion_ratio", "sparsity"]

#: The settings of `bench run` that a study may give to its trainings; the others are its own business.
TRAINING = (
    "defense",
    "model",
    "dataset",
    "image_size",
    "threat",
    "set",
    "recipe",
    "epochs",
    "trials",
    "clean_floor",
    "seeds",
    "train_size",
    "test_size",
    "precision",
    "device",
    "probe_every",
    "probe_images",
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Published(_Part):
    """A slope that a paper reports, with its p-value where it states one."""

    slope: float
    p: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare(cls, value: Any) -> Any:
        return {"slope": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class StudyDataset(_Part):
    """One data set of a correlation study; what is None is as for the whole study.

    Attributes:
        dataset: its name; by default the key it stands under.
        least_accuracy: test accuracy that a candidate must exceed.
    """

    dataset: str | None = None
    least_accuracy: Annotated[float, Field(ge=0, lt=1)]
    threat: str | None = None
    train_size: Count | None = None
    test_size: Count | None = None
    image_size: Count | None = None
    epochs: Count | None = None
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)] | None = None
    seeds: Seeds | None = None
    probe_every: Count | None = None

    @field_validator("threat", mode="before")
    @classmethod
    def _written(cls, threat: Any) -> Any:
        return str(threat) if isinstance(threat, int | float) and not isinstance(threat, bool) else threat


class _Study(_Part):
    """What both kinds have.

    Attributes:
        title: of the page.
        source: the papers' tables and figures that it answers to.
        text: paragraphs for the page: what differs from the paper, and why.
    """

    title: str
    source: str = ""
    text: str = ""


class CorrelationStudy(_Study):
    """Many standard trainings, probed as they go, and quantities regressed on the PRS ratio.

    Attributes:
        models, datasets, batch_sizes, seeds: every combination is trained.
        recipe: without the batch size.
        probe_every: epochs between two candidates of a training.
        probe_images: test images that PGD-20 attacks at each.
        published: quantity → network → data set → the paper's slope.
        claims: quantity → the sign the paper claims in words, where it gives no slope.
    """

    study: Literal["correlation"]
    models: Annotated[tuple[str, ...], Field(min_length=1)]
    datasets: Annotated[dict[str, StudyDataset], Field(min_length=1)]
    batch_sizes: Annotated[tuple[Count, ...], Field(min_length=1)]
    seeds: Seeds
    epochs: Count
    recipe: str = "paper"
    probe_every: Count
    probe_images: Count = 500
    device: Literal["auto", "cpu", "cuda"] = "auto"
    published: dict[Quantity, dict[str, dict[str, Published]]] = {}
    claims: dict[Quantity, Sign] = {}

    @field_validator("models", "batch_sizes", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("values must differ from each other")
        return values


class TableRow(_Part):
    """One row: how it was trained, and the paper's numbers by column, in the unit the column is shown in."""

    config: RunConfig
    paper: dict[str, float] = {}


class TableStudy(_Study):
    """Trainings as rows, measurements as columns, the paper's numbers beside ours, and claims judged.

    Attributes:
        rows: by name; each has what the file says under `train`, then what it says itself.
        columns: in their order.
        battery: gives the sizes of the metrics, and how many test images are attacked.
        images: test images attacked; None is the battery's number.
        charts: metrics whose figures the page shows for every row.
        side_by_side: metrics whose figures the page shows with the rows beside each other, on one scale; they are
            measured for the first seed alone.
        bars: scores that the page also shows as bars, a chart each with one bar a row; written as columns are.
        claims: what to judge.
    """

    study: Literal["table"]
    rows: dict[str, TableRow]
    columns: tuple[Column, ...]
    battery: Literal["quick", "standard", "full", "geometry"] = "standard"
    images: Count | None = None
    charts: tuple[str, ...] = ()
    side_by_side: tuple[str, ...] = ()
    bars: tuple[Column, ...] = ()
    claims: tuple[Claim, ...] = ()


Study = CorrelationStudy | TableStudy


def load_study(path: Path) -> Study:
    """Read and check a study file.

    Raises:
        UserError: in one line, naming the file, the key, what was expected and the nearest known names.
    """
    values = load_yaml(path)
    try:
        kind = values.get("study")
        if kind not in ("correlation", "table"):
            raise UserError(f"study must be correlation or table, got {kind!r}")
        return _correlation(values) if kind == "correlation" else _table(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _correlation(values: dict[str, Any]) -> CorrelationStudy:
    for quantity in {**_mapping(values, "published"), **_mapping(values, "claims")}:
        if quantity not in QUANTITIES:
            raise unknown_name("quantity", str(quantity), QUANTITIES)
    datasets = {
        str(name): _make(StudyDataset, entry, f"datasets.{name}", list(StudyDataset.model_fields))
        for name, entry in _mapping(values, "datasets").items()
    }
    study = _make(CorrelationStudy, {**values, "datasets": datasets}, "", list(CorrelationStudy.model_fields))
    for quantity, networks in study.published.items():
        for network, slopes in networks.items():
            _known("network", network, study.models, f"published.{quantity}")
            for name in slopes:
                _known("data set", name, study.datasets, f"published.{quantity}.{network}")
    return study


def _table(values: dict[str, Any]) -> TableStudy:
    allowed = [*TableStudy.model_fields, "train", "attacks"]
    _check_keys(values, allowed, "")
    attacks = {
        str(name): _at(f"attacks.{name}", lambda name=name, entry=entry: AttackSettings.make(name, entry))
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
        _at("claims", lambda text=text: parse_claim(text, list(rows), names))
        for text in _list(values, "claims")
    )
    rest = {key: value for key, value in values.items() if key not in ("train", "attacks")}
    return _make(
        TableStudy,
        {**rest, "rows": rows, "columns": columns, "bars": bars, "claims": claims},
        "",
        list(TableStudy.model_fields),
    )


def _columns(values: Mapping[str, Any], key: str, attacks: Mapping[str, Attack]) -> tuple[Column, ...]:
    """The columns under a key, no two of one name."""
    columns = tuple(
        _at(key, lambda entry=entry: parse_column(entry, attacks)) for entry in _list(values, key)
    )
    names = [column.name for column in columns]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{key}: {doubled[0]} is named twice")
    return columns


def _row(name: str, entry: Any, shared: Mapping[str, Any], columns: list[str]) -> TableRow:
    where = f"rows.{name}"
    if not isinstance(entry, dict):
        raise UserError(f"{where}: expected settings such as {{defense: prs}}, got {entry!r}")
    _check_keys(shared, TRAINING, "train")
    _check_keys(entry, (*TRAINING, "paper"), where)
    given = {**shared, **{key: value for key, value in entry.items() if key != "paper"}}
    if isinstance(given.get("seeds"), int):
        given["seeds"] = [given["seeds"]]
    if "defense" not in given:
        raise UserError(f"{where}: defense is missing; `bench list defenses` names them")
    paper = _mapping(entry, "paper", where)
    for column in paper:
        _known("column", str(column), columns, f"{where}.paper")
    # A study trains with the settings it states; a search is asked for.
    config = _at(where, lambda: RunConfig.make({"trials": 0, **given}))
    return _make(TableRow, {"config": config, "paper": paper}, where, ["config", "paper"])


def _make(kind: type[Part], values: Any, where: str, known: Iterable[str]) -> Part:
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


def _known(kind: str, name: str, known: Iterable[str], where: str) -> None:
    if name not in known:
        raise UserError(f"{where}: {unknown_name(kind, name, known)}")


def _at(where: str, make: Any) -> Any:
    try:
        return make()
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
