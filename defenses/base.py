"""What a defense is: hyper-parameters, and an objective for one training."""

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, Self, get_type_hints

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn import functional as F

from bench.core.classifier import Classifier
from bench.core.errors import UserError, unknown_name
from bench.core.randomness import make_generator
from bench.core.threat import Threat
from bench.data import Split
from defenses.space import Choice, LogUniform, Range, Uniform

__all__ = ["Attacked", "Defense", "Objective", "Training"]


@dataclass
class Training:
    """The training an objective serves: what it may look at, and the one thing it may ask for.

    Attributes:
        classifier: the network in training.
        train: its training images, uint8, unaugmented.
        threat: norm and ε to defend against.
        epochs: how many there will be.
        seed: base of every random draw.
        batch_size: images of one step.
        restart_optimizer: start the optimizer afresh, over the parameters that still require a gradient.
        label_smoothing: probability mass that `Objective.cross_entropy` spreads evenly over all classes.
    """

    classifier: Classifier
    train: Split
    threat: Threat
    epochs: int
    seed: int
    batch_size: int
    restart_optimizer: Callable[[], None] = lambda: None
    label_smoothing: float = 0.0


class Objective(ABC):
    """The loss of one training, with whatever state its stages need.

    The loss never steps, never zeroes a gradient, and leaves every module's mode as it found it.
    `self.generator` is private to the objective and starts anew each epoch, so that a resumed run draws the
    same numbers.
    """

    def __init__(self, training: Training) -> None:
        self.training = training
        self.generator = make_generator(training.seed, "objective", 0)

    @abstractmethod
    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise for images [B, C, H, W] in [0, 1] and labels [B]."""

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean L_CE of logits [B, K] and labels [B], with the recipe's label smoothing; for losses, not attacks."""
        return F.cross_entropy(logits, labels, label_smoothing=self.training.label_smoothing)

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 1. Override `epoch` for stages, not this."""
        self.generator = make_generator(self.training.seed, "objective", epoch)
        self.epoch(epoch)

    def epoch(self, number: int) -> None:
        """Prepare epoch `number`: warm-up over, region means rebuilt, a layer frozen. Nothing by default."""

    def settled(self) -> bool:
        """Whether every stage has begun: an epoch before that is not the defense's, and never its best."""
        return True

    def report(self) -> dict[str, float | int | str | None]:
        """What the epoch's row in the history should say about the objective; empty by default."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values a resumed run needs; empty by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what `state_dict` gave."""


class Attacked(Objective, ABC):
    """An objective that attacks its images first, then takes its loss on them.

    The halves stand apart so that a composition can take several losses on one attack, as `awp` does.
    """

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimise for images [B, C, H, W] and labels [B]."""
        return self.loss_on(classifier, images, self.attack(classifier, images, labels), labels)

    @abstractmethod
    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Any:
        """What the attack found, without a graph; images [B, C, H, W] for all but sums of defenses."""

    @abstractmethod
    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Any, labels: Tensor) -> Tensor:
        """The scalar to minimise, given what `attack` found."""


@dataclass(frozen=True, kw_only=True)
class Defense(ABC):
    """A training method and its hyper-parameters.

    A concrete defense is a frozen, keyword-only dataclass. Each field is a hyper-parameter: its annotation
    carries type, bounds (`pydantic.Field`) and search range (`defenses.space`), its default is the paper's.

    Raises:
        UserError: from the constructor, for a value of the wrong type or out of bounds.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    #: Its objective is `Attacked`.
    attacks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field, kind in _adapters(type(self)).items():
            value = getattr(self, field)
            try:
                object.__setattr__(self, field, kind.validate_python(value))
            except ValidationError as error:
                expected = "; or ".join(dict.fromkeys(_expected(item) for item in error.errors()))
                raise UserError(f"{self.name}: {field} must be {expected}; got {value!r}") from None
            if isinstance(made := getattr(self, field), float) and not math.isfinite(made):
                raise UserError(f"{self.name}: {field} must be a finite number; got {value!r}")

    def forward_units(self) -> float:
        """Cost of one step in forward passes; a backward pass counts two. Standard training takes 3."""
        return 3.0

    def attack_units(self) -> float:
        """The part of `forward_units` that the attack takes; 0 where nothing is attacked."""
        return 0.0

    @abstractmethod
    def objective(self, training: Training) -> Objective:
        """The objective for one training.

        Raises:
            UserError: when the training leaves no room for a stage of the defense.
        """

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Self:
        """A defense from hyper-parameters by name; text is converted ("0.8", "true").

        Raises:
            UserError: for an unknown name, a wrong type, or a value out of bounds.
        """
        known = list(_hints(cls))
        for key in values:
            if key not in known:
                raise unknown_name(f"hyper-parameter of {cls.name}", key, known)
        return cls(**values)

    @classmethod
    def space(cls) -> dict[str, Range]:
        """Hyper-parameter → search range, for those that have one."""
        return {
            field: mark
            for field, hint in _hints(cls).items()
            for mark in getattr(hint, "__metadata__", ())
            if isinstance(mark, Uniform | LogUniform | Choice)
        }

    def hyperparameters(self) -> dict[str, Any]:
        """Every hyper-parameter with its value."""
        return {field: getattr(self, field) for field in _hints(type(self))}

    def replace(self, **values: Any) -> Self:
        """The same with other values."""
        return dataclasses.replace(self, **values)


def _hints(cls: type[Defense]) -> dict[str, Any]:
    """Hyper-parameter → annotation; a field that holds other defenses is none."""
    hints = get_type_hints(cls, include_extras=True)
    fields = [field.name for field in dataclasses.fields(cls) if not field.metadata.get("parts")]
    return {name: hints[name] for name in fields}


@cache
def _adapters(cls: type[Defense]) -> dict[str, TypeAdapter[Any]]:
    return {field: TypeAdapter(hint) for field, hint in _hints(cls).items()}


def _expected(item: Any) -> str:
    message = item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return message.split(", unable to parse")[0]


def frozen(module: torch.nn.Module) -> None:
    """Take a module's parameters out of training."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
