"""The settings of a run, from the command line or a YAML file, and the command that repeats the run."""

import shlex
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
)

from bench.core.errors import UserError, unknown_name
from bench.core.names import data_source, is_local_path
from bench.core.record import describe
from bench.core.secrets import redact
from bench.core.values import Precision, SearchObjective
from bench.core.yaml_files import read_yaml
from bench.models import MODELS
from bench.runs.options import (
    BatteryName,
    Count,
    Device,
    FileOrFolder,
    Flag,
    Folder,
    FolderToWrite,
    Names,
    Number,
    Option,
    Seeds,
    Text,
    Whole,
    Word,
)


def network_name(written: str) -> str:
    """The canonical name of a network; other text stays as it is, for it can label the network of a loader."""
    with suppress(UserError):
        return MODELS.canonical(written)
    return written


#: Settings of one run that may be written as a list.
LISTS = ("seeds", "metrics", "class_order")


class RunConfig(BaseModel):
    """The settings of `bench run`: options and the keys of a YAML file follow from these fields.

    None means the default of the data set, where help says so. The order is that of a repeated command.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    defense: Annotated[Word, Option("training", "A name of `bench list defenses`, or module:Class.", "NAME")]
    model: Annotated[
        Word,
        AfterValidator(network_name),
        Option(
            "result",
            "Network; see `bench list models`; some have options, such as 'cnn6(activation=silu)'.",
            "NAME",
        ),
    ] = "cnn6"
    dataset: Annotated[
        Text,
        AfterValidator(data_source),
        Option(
            "data",
            "A name of `bench list datasets`, imagefolder:PATH, FILE.npz, or module:function.",
            "NAME",
            alias="data",
        ),
    ] = "digits"
    data_dir: Annotated[
        Folder | None,
        Option("data", "Where torchvision's files are.", shown_default="data", local=True, placeholder="DIR"),
    ] = None
    download: Annotated[Flag, Option("data", "Fetch missing files into the data folder.", local=True)] = False
    image_size: Annotated[
        Annotated[Whole, Field(ge=8, le=1024)] | None,
        Option("data", "Resize and crop the images of a folder to this side."),
    ] = None
    class_order: Annotated[
        Names,
        Option(
            "data",
            "Classes of a folder in this order, or text.",
            "NAME[,NAME…]",
            shown_default="numbers as numbers, other names as text",
        ),
    ] = ()
    threat: Annotated[
        Word | None,
        Option("result", "Such as linf:8/255 or l2:0.5.", "NORM:EPS", shown_default="per data set"),
    ] = None
    set: Annotated[
        dict[Word, Any], Option("training", "Fix a hyper-parameter; repeatable.", "NAME=VALUE")
    ] = {}
    recipe: Annotated[
        Text,
        Option(
            "training",
            "paper; strong (SGD, for networks with batch norm); or one with changes.",
            "NAME[,FIELD=VALUE…]",
        ),
    ] = "paper"
    epochs: Annotated[
        Count | None, Option("training", "Passes over the training data.", shown_default="per data set")
    ] = None
    trials: Annotated[
        Annotated[Whole, Field(ge=0, le=100_000)] | None,
        Option("training", "Settings to try; 0 takes the defaults.", shown_default="per data set"),
    ] = None
    clean_floor: Annotated[
        Annotated[Number, Field(ge=0, le=1)] | None,
        Option(
            "training",
            "Validation clean accuracy a setting must reach.",
            shown_default="the defaults' less 0.10",
        ),
    ] = None
    objective: Annotated[
        SearchObjective,
        Option(
            "training",
            "Of the search: robust accuracy, screened (nearly that under AutoAttack), pareto (clean against robust "
            "accuracy), or pareto-cost (and cost).",
            "NAME",
        ),
        Field(exclude_if=lambda objective: objective == "robust"),
    ] = "robust"
    storage: Annotated[
        Text | None,
        Option(
            "training",
            "Where several processes share the search: postgresql://host/name, a journal file, or grpc://host:port.",
            "URI|FILE",
            shown_default="REGIONBENCH_STORAGE, else the run's folder, for one process",
            local=True,
        ),
    ] = None
    seeds: Annotated[
        Seeds,
        Option("training", "Seeds the best setting is trained with.", "N[,N…]"),
    ] = (0,)
    battery: Annotated[
        BatteryName,
        Option("result", "quick, standard, full, geometry or indicators; `bench list batteries`.", "NAME"),
    ] = "quick"
    metrics: Annotated[
        Names,
        Option(
            "result",
            "Measure just these, on as many images as the battery; `bench list metrics`, module:Class, or with "
            "arguments, such as 'prs_by_layer(train_images=1000)'.",
            "NAME[,NAME…]",
        ),
    ] = ()
    no_escalate: Annotated[
        Flag, Option("result", "Leave out the extra checks that answer a raised alarm.")
    ] = False
    transfer_from: Annotated[
        FileOrFolder | None,
        Option(
            "result",
            "Checkpoint or record of a standard network, whose adversarial images an extra check transfers.",
            "CHECKPOINT|RECORD",
            shown_default="one below --out, or a small one that is trained",
            local=True,
            placeholder="FILE",
        ),
    ] = None
    suspicious: Annotated[
        Flag,
        Option("result", "Run the extra checks without a worst case too, as with --metrics."),
    ] = False
    probe_every: Annotated[
        Count | None,
        Option(
            "training",
            "Measure decision regions and robustness after every K epochs.",
            "K",
            shown_default="off",
        ),
    ] = None
    probe_images: Annotated[Count, Option("training", "Test images that a probe attacks.")] = 500
    train_size: Annotated[Count | None, Option("data", "Training images to use.", shown_default="all")] = None
    test_size: Annotated[Count | None, Option("data", "Test images to use.", shown_default="all")] = None
    device: Annotated[Device, Option("result", "auto, cpu, cuda or cuda:N.", "NAME", local=True)] = "auto"
    precision: Annotated[
        Precision, Option("training", "Of training: fp32, bf16, bf16-compiled, or auto, the fastest.", "NAME")
    ] = "auto"
    out: Annotated[FolderToWrite, Option("result", "Folder for runs, records and pages.", local=True)] = Path(
        "runs"
    )
    tracking: Annotated[
        Text | None,
        Option("result", "MLflow tracking URI, or none.", "URI", shown_default="mlflow.yaml", local=True),
    ] = None

    @field_validator("threat", mode="before")
    @classmethod
    def _written(cls, threat: Any) -> Any:
        return str(threat) if isinstance(threat, int | float) and not isinstance(threat, bool) else threat

    @field_validator("storage")
    @classmethod
    def _without_secrets_in_messages(cls, storage: str | None) -> str | None:
        if storage is not None:
            redact(storage)
        return storage

    @field_validator("set", mode="before")
    @classmethod
    def _nothing_set(cls, given: Any) -> Any:
        return {} if given is None else given

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("seeds must differ from each other")
        return seeds

    @classmethod
    def options(cls) -> dict[str, Option]:
        """Map each setting to its command-line option."""
        return {
            name: option
            for name, field in cls.model_fields.items()
            for option in field.metadata
            if isinstance(option, Option)
        }

    @classmethod
    def make(cls, given: dict[str, Any]) -> "RunConfig":
        """Make a config from plain values.

        Raises:
            UserError: for an unknown key or a bad value.
        """
        for key in given:
            if key not in cls.model_fields:
                raise unknown_name("setting", key, cls.model_fields)
            if isinstance(given[key], list) and key not in LISTS:
                raise UserError(f"{key} is a list; `bench sweep` runs a file in which settings are lists")
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise UserError(describe(error)) from None

    def published(self) -> dict[str, Any]:
        """The settings that a record may show: all but the folders of this machine."""
        local = {name for name, option in self.options().items() if option.local}
        return {**self.model_dump(mode="json", exclude=local), "dataset": self._shown_dataset()}

    def _shown_dataset(self) -> str:
        kind, colon, path = self.dataset.partition(":")
        return f"{kind}:DIR/{Path(path).name}" if colon and is_local_path(self.dataset) else self.dataset

    @property
    def escalate(self) -> bool | None:
        """Whether raised alarms are answered: None where a worst case is measured."""
        return False if self.no_escalate else self.suspicious or None

    def command(self) -> str:
        """The command that repeats this run; DIR stands for the reader's own data folder."""
        return shlex.join(["bench", "run", *self.words()])

    def words(self) -> list[str]:
        """The command-line words of every setting that is not at its default; the network is always named."""
        words: list[str] = []
        for key, option in self.options().items():
            value = getattr(self, key)
            if (value != type(self).model_fields[key].default or key == "model") and (
                not option.local or option.placeholder
            ):
                words += self._words_of(key, option.placeholder or value)
        return words

    def _words_of(self, key: str, value: Any) -> list[str]:
        flag = f"--{key.replace('_', '-')}"
        if isinstance(value, dict):
            return [word for name, each in value.items() for word in (flag, f"{name}={_plain(each)}")]
        if isinstance(value, tuple):
            return [flag, ",".join(map(str, value))]
        if isinstance(value, bool):
            return [flag]
        return [flag, self._shown_dataset() if key == "dataset" else str(value)]


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a mapping from a YAML file; its keys may be written with "-" or "_".

    Raises:
        UserError: when the file is missing, no YAML, or no mapping, or has a key in both ways of writing.
    """
    settings = read_yaml(path)
    if not isinstance(settings, dict):
        raise UserError(f"{path} must hold settings such as `defense: prs`, got {type(settings).__name__}")
    found: dict[str, Any] = {}
    for key, value in settings.items():
        name = str(key).replace("-", "_")
        if name in found:
            raise UserError(f"{path}: {name} stands twice, with - and with _; keep one")
        found[name] = value
    return found


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
