"""The schema of a study file."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bench.runs.config import RunConfig
from bench.runs.options import Count, Device, Seeds
from bench.study.claims import Claim
from bench.study.columns import Column
from bench.study.quantities import RegressedQuantity
from bench.study.regression import Sign


class StudyModel(BaseModel):
    """A part of a study file; it rejects unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Published(StudyModel):
    """A slope that a paper reports, with its p-value where the paper states one."""

    slope: float
    p: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"slope": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class StudyDataset(StudyModel):
    """One data set of a correlation study; a value of None is that of the whole study.

    Attributes:
        dataset: its name; by default the key of this entry.
        least_accuracy: a candidate's test accuracy must exceed this.
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
    def _as_text(cls, threat: Any) -> Any:
        return str(threat) if isinstance(threat, int | float) and not isinstance(threat, bool) else threat


class _BaseStudy(StudyModel):
    """What all kinds of study have.

    Attributes:
        title: of the page.
        source: the papers' tables and figures that the study reproduces.
        text: paragraphs for the page: differences from the paper, with reasons.
    """

    title: str
    source: str = ""
    text: str = ""


class CorrelationStudy(_BaseStudy):
    """Standard trainings with probes, and quantities regressed on the PRS ratio.

    Attributes:
        models, datasets, batch_sizes, seeds: every combination is trained.
        recipe: without the batch size.
        probe_every: epochs between two probes of a training.
        probe_images: test images that PGD-20 attacks in each probe.
        published: quantity → network → data set → the paper's slope.
        claims: quantity → the sign that the paper claims in words, where it prints no slope.
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
    device: Device = "auto"
    published: dict[RegressedQuantity, dict[str, dict[str, Published]]] = {}
    claims: dict[RegressedQuantity, Sign] = {}

    @field_validator("models", "batch_sizes", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(values)) != len(values):
            raise ValueError("values must differ from each other")
        return values


class TableRow(StudyModel):
    """One row: its training, and the paper's numbers by column, in the unit of the column."""

    config: RunConfig
    paper: dict[str, float] = {}


class TableStudy(_BaseStudy):
    """Trainings as rows and measurements as columns, beside the paper's numbers, with claims to judge.

    Attributes:
        rows: by name; the settings under `train`, overridden by the row's own.
        columns: in their order.
        battery: gives the sizes of the metrics and the number of attacked test images.
        images: number of attacked test images; None is the battery's.
        charts: metrics whose figures the page shows for every row.
        side_by_side: metrics whose figures the page shows with the rows side by side, on one scale. They are
            measured for the first seed of each row.
        bars: scores that the page also shows as bars, in one chart each with one bar per row; written like
            columns.
        claims: orderings to judge.
    """

    study: Literal["table"]
    rows: dict[str, TableRow]
    columns: tuple[Column, ...]
    battery: Literal["quick", "standard", "full", "geometry", "indicators"] = "standard"
    images: Count | None = None
    charts: tuple[str, ...] = ()
    side_by_side: tuple[str, ...] = ()
    bars: tuple[Column, ...] = ()
    claims: tuple[Claim, ...] = ()


class PredictorsStudy(_BaseStudy):
    """Networks of many kinds, each with its robustness and its indicators; docs/predictors.md says what is asked.

    Attributes:
        groups: by name, the networks, each with one seed.
        broken: by name, deliberately broken networks, which are held out.
        least_accuracy: networks with a lower clean accuracy are left out.
    """

    study: Literal["predictors"]
    groups: dict[str, tuple[RunConfig, ...]]
    broken: dict[str, tuple[RunConfig, ...]] = {}
    least_accuracy: Annotated[float, Field(ge=0, lt=1)] = 0.5


Study = CorrelationStudy | TableStudy | PredictorsStudy
