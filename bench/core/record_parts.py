"""The parts of a record: scores, alarms, curves, and what the network was trained and measured with."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from bench.core.limits import Count, LongName, Name, Seconds

Value = bool | int | float | str | None


#: Exactly these fields, and finite numbers.
_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


class Part(BaseModel):
    """A part of a record: exactly these fields, finite numbers, and no change afterwards."""

    model_config = ConfigDict(**_STRICT, frozen=True)


# Of what a record has dozens of, a model would take ten times the memory of a data class with slots.
@dataclass(config=_STRICT, slots=True, frozen=True, kw_only=True)
class Score:
    """One number of the battery, with its 95 % interval (for a time: the quartiles over epochs).

    `value` is None when the quantity is not defined for this network; `reason` then says why.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = Field(default=None, ge=0, description="how many examples it was measured on")
    unit: str = Field(description='"fraction", "AUC", "seconds", "ratio", "nats", "count"')
    higher_is_better: bool | None = Field(default=None, description="None: neither direction is better")
    reason: str = Field(default="", description="why there is no value, or what to know about it")

    @model_validator(mode="after")
    def _explained(self) -> "Score":
        if self.value is None and not self.reason:
            raise ValueError("a score without a value needs a reason")
        return self


@dataclass(config=_STRICT, slots=True, frozen=True, kw_only=True)
class Alarm:
    """A sign that a robust accuracy is not to be believed, with the numbers behind it.

    `raised` is None when the battery did not run what the alarm needs.
    """

    name: Name
    raised: bool | None
    message: str
    numbers: dict[str, float | None] = Field(default={})


@dataclass(config=_STRICT, slots=True, frozen=True, kw_only=True)
class Point:
    """One point of a curve: `x`, the value there and its 95 % interval."""

    x: float
    value: float
    low: float | None = None
    high: float | None = None


class Curve(Part):
    """A named curve, for example robust accuracy against ε (the security curve)."""

    x_label: str
    y_label: str
    n: int | None = Field(default=None, ge=0, description="how many examples are behind each point")
    points: list[Point]


#: More settings than a front can have: 1,000 images give 1,001 robust accuracies.
MOST_OF_FRONT = 2_000


@dataclass(config=_STRICT, slots=True, frozen=True, kw_only=True)
class FrontPoint:
    """A setting that no other one of its search matches in every objective and beats in one."""

    trial: Count
    hyperparameters: dict[Name, Value] = Field(description="those that were searched")
    clean_accuracy: float = Field(ge=0, le=1)
    robust_accuracy: float = Field(ge=0, le=1)
    clean_right: Count = Field(description="validation images that are classified correctly")
    robust_right: Count = Field(description="validation images that survive both attacks")
    cost: float | None = Field(
        default=None,
        ge=0,
        description="passes of a training step, relative to standard training; None: no objective",
    )


class Front(Part):
    """The outcome of a search for clean and robust accuracy together."""

    points: list[FrontPoint] = Field(
        min_length=1, max_length=MOST_OF_FRONT, description="the most robust first"
    )
    clean_images: Count = Field(description="validation images behind each clean accuracy")
    robust_images: Count = Field(description="validation images behind each robust accuracy")
    rule: str = Field(description="which point is trained for the seeds")
    hypervolume: Score = Field(
        description="share of the square of the two accuracies that lies below the front"
    )


class Search(Part):
    """How the hyper-parameters were found: on a validation split of the training set, never on test data."""

    trials: Count
    complete: Count
    pruned: Count
    failed: Count
    objective: str
    clean_floor: float = Field(description="validation clean accuracy a setting must reach")
    space: dict[str, str] = Field(description="hyper-parameter → its range")
    default_value: float | None = Field(
        description="objective of the first trial: the defaults, with what was set by hand"
    )
    best_value: float | None
    best_trial: Count
    seconds: Seconds
    sampler: dict[str, Any] = Field(default={}, description="of the settings: its name and arguments")
    pruner: dict[str, Any] = Field(default={}, description="what stops a trial early: its name and arguments")
    optuna: str = Field(default="", description="version of Optuna")
    front: Front | None = Field(
        default=None,
        exclude_if=lambda front: front is None,
        description="of a search with several objectives; absent from others",
    )


class Defense(Part):
    """The defense and every hyper-parameter it ran with."""

    name: Name
    hyperparameters: dict[Name, Value]
    defaults: dict[Name, Value] = Field(default={}, description="the paper's values where it states them")
    search: Search | None = Field(default=None, description="None: nothing was searched")


class Dataset(Part):
    """The data, identified by a fingerprint of every pixel and label that was used."""

    name: LongName
    fingerprint: str = Field(description="SHA-256 over training, validation and test tensors")
    shape: tuple[Count, Count, Count] = Field(description="channels, height, width")
    classes: list[str]
    train_size: Count
    validation_size: Count
    test_size: Count
    evaluated_size: Count = Field(description="test images the attacks ran on")
    evaluated_fingerprint: str = Field(description="SHA-256 over those images and labels, in order")


#: What readers see for a norm.
NORM_SIGNS = {"linf": "ℓ∞", "l2": "ℓ2"}


def threat_title(norm: str, eps: object) -> str:
    """What readers see for a threat."""
    return f"{NORM_SIGNS.get(norm, norm)}, ε = {eps}"


class Threat(Part):
    """Norm and ε, the latter exactly as written ("8/255")."""

    norm: Literal["linf", "l2"]
    eps: str

    @property
    def title(self) -> str:
        """What readers see: "ℓ∞, ε = 8/255"."""
        return threat_title(self.norm, self.eps)


class Battery(Part):
    """The metric battery; two results share a board only when name and version agree."""

    name: Name
    version: Name
    settings: dict[str, Any] = Field(default={}, description="attack → its settings")


class Training(Part):
    """How the network was trained; absent for a checkpoint that was trained elsewhere."""

    recipe: dict[str, Value]
    precision: str
    step_seconds: dict[str, Seconds] = Field(
        default={}, description="precision → seconds of a training step, where --precision auto tried them"
    )
    epochs: Count
    epoch_of_weights: Count = Field(description="the epoch whose weights were evaluated, from 1")
    best_epoch: int | None = Field(
        default=None,
        description="the epoch with the best validation robust accuracy; later ones may have overfitted",
    )


class Cost(Part):
    """What the result took. Seconds are wall clock on the hardware that `provenance` names."""

    train_seconds: Seconds | None = None
    evaluate_seconds: Seconds
    peak_memory_bytes: Count
    forwards: Count = Field(description="images through the network during evaluation")
    backwards: Count = Field(description="images whose gradient was taken during evaluation")
    seconds_by_metric: dict[Name, Seconds] = {}
    passes_by_metric: dict[Name, tuple[Count, Count]] = Field(
        default={}, description="metric → forward and backward passes, in images"
    )


class Source(Part):
    """The source file of a plug-in. A copy of it lies beside the record, where one could be kept."""

    part: Name = Field(description='what it did, such as "defense", "network" or "metric mean_margin"')
    name: Name = Field(description="module and class or function")
    file: Name = Field(description="name of the file, without folders")
    sha256: str


class Provenance(Part):
    """Where the number comes from, and how to get it again."""

    run: Name = Field(
        description="name of the training run, ending in a hash of its settings and data; or external"
    )
    commit: str | None
    dirty: bool | None = Field(default=None, description="the source differed from the commit")
    command: str = Field(description="the command that reproduces this record")
    config: dict[str, Any] = {}
    versions: dict[str, str]
    hardware: dict[str, Value]
    created: str = Field(description="ISO 8601, UTC")
    sources: list[Source] = Field(default=[], description="code that is not of this package")


class File(Part):
    """A file beside the record, with its hash."""

    path: Name
    sha256: str
