"""One run's settings: from the command line, from YAML, and back into a command."""

import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bench.core.errors import UserError, unknown_name
from bench.core.record import describe

Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]
BatteryName = Literal["quick", "standard", "full", "geometry"]
Count = Annotated[int, Field(ge=1)]


def split_names(text: str) -> list[str]:
    """The parts between commas; those within brackets belong to a metric's arguments."""
    names, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth <= 0:
            names.append("")
        else:
            names[-1] += letter
    return [name.strip() for name in names]


class RunConfig(BaseModel):
    """Everything `bench run` can be told. None means: the data set's own default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defense: str
    model: str = "cnn6"
    dataset: str = "digits"
    data_dir: Path | None = None
    download: bool = False
    image_size: Annotated[int, Field(ge=8, le=1024)] | None = None
    threat: str | None = None
    set: dict[str, Any] = {}
    recipe: str = "paper"
    epochs: Count | None = None
    trials: Annotated[int, Field(ge=0)] | None = None
    clean_floor: Annotated[float, Field(ge=0, le=1)] | None = None
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0,)
    battery: BatteryName = "quick"
    metrics: tuple[str, ...] = ()
    suspicious: bool = False
    probe_every: Count | None = None
    probe_images: Count = 500
    train_size: Count | None = None
    test_size: Count | None = None
    device: Device = "auto"
    precision: Precision = "auto"
    out: Path = Path("runs")
    tracking: str | None = None

    @field_validator("threat", mode="before")
    @classmethod
    def _written(cls, threat: Any) -> Any:
        return str(threat) if isinstance(threat, int | float) and not isinstance(threat, bool) else threat

    @field_validator("set", mode="before")
    @classmethod
    def _nothing_set(cls, values: Any) -> Any:
        return {} if values is None else values

    @field_validator("metrics", mode="before")
    @classmethod
    def _separate(cls, names: Any) -> Any:
        return split_names(names) if isinstance(names, str) else names or ()

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("seeds must differ from each other")
        return seeds

    @classmethod
    def make(cls, values: dict[str, Any]) -> "RunConfig":
        """A config from plain values.

        Raises:
            UserError: for an unknown key or a bad value.
        """
        for key in values:
            if key not in cls.model_fields:
                raise unknown_name("setting", key, cls.model_fields)
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise UserError(describe(error)) from None

    def published(self) -> dict[str, Any]:
        """What a record may show: the settings without the folders of this machine."""
        shown = self.model_dump(mode="json", exclude={"out", "tracking", "data_dir", "download", "device"})
        return {**shown, "dataset": self._shown_dataset()}

    def _shown_dataset(self) -> str:
        kind, colon, path = self.dataset.partition(":")
        return f"{kind}:DIR/{Path(path).name}" if colon and kind == "imagefolder" else self.dataset

    def command(self) -> str:
        """The command that gives this run again; DIR stands for the reader's own data folder."""
        return shlex.join(["bench", "run", *self.words()])

    def words(self) -> list[str]:
        """The command-line words of every setting that is not at its default; the network is always named."""
        words: list[str] = []
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            flag = f"--{key.replace('_', '-')}"
            if key in ("out", "tracking", "device", "download") or (
                value == field.default and key != "model"
            ):
                continue
            if key == "set":
                words += [word for name, each in value.items() for word in (flag, f"{name}={_plain(each)}")]
            elif key in ("seeds", "metrics"):
                words += [flag, ",".join(map(str, value))]
            elif isinstance(value, bool):
                words.append(flag)
            elif key == "data_dir":
                words += [flag, "DIR"]
            elif key == "dataset":
                words += [flag, self._shown_dataset()]
            else:
                words += [flag, str(value)]
        return words


def load_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; keys may be written with "-" or "_".

    Raises:
        UserError: when it is missing, no YAML, or no mapping.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UserError(
            f"{path} is not valid YAML{where}: {getattr(error, 'problem', None) or error}"
        ) from None
    if not isinstance(values, dict):
        raise UserError(f"{path} must hold settings such as `defense: prs`, got {type(values).__name__}")
    return {str(key).replace("-", "_"): value for key, value in values.items()}


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
