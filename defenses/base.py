"""The base classes of a defense: its hyper-parameters, and the objective it gives a training."""

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
from bench.core.randomness import derive_seed, make_generator
from bench.core.threat import Threat
from bench.core.values import shown
from bench.data import Split
from defenses.space import Choice, LogUniform, Range, Uniform

__all__ = ["Attacked", "Defense", "Objective", "Training"]


@dataclass
class Training:
    """What an objective knows about its training, and how it restarts the optimizer.

    Attributes:
        classifier: the network in training.
        train: its training images, uint8, unaugmented.
        threat: norm and ε to defend against.
        epochs: length of the training.
        seed: base of every random draw.
        batch_size: images in one step.
        restart_optimizer: replaces the optimizer by a new one over the parameters that still require a gradient.
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
    """The loss of one training, with the state that its stages need.

    `loss` must not step the optimizer or zero gradients, and must restore the mode of every module it changes.
    `self.generator` belongs to the objective alone and is seeded again each epoch, so that a resumed training draws
    the same numbers.

    Attributes:
        replays: optimizer steps in a row on each batch. With m of them, m epochs make one pass over the images, so
            that the number of steps in an epoch is that of standard training.
    """

    replays: int = 1

    def __init__(self, training: Training) -> None:
        self.training = training
        self.generator = make_generator(
            training.seed, "objective", 0, device=_drawing_device(training.train.images)
        )

    @abstractmethod
    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images [B, C, H, W] in [0, 1] and labels [B]."""

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean L_CE of logits [B, K] and labels [B] with the recipe's label smoothing; for losses, not attacks."""
        return F.cross_entropy(logits, labels, label_smoothing=self.training.label_smoothing)

    def after_backward(self) -> None:
        """Called between the backward pass of a loss and the optimizer's step; does nothing by default."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before each epoch, counted from 1. For stages, override `epoch` instead."""
        # Seeded again, not made anew: a captured step on a CUDA device goes on reading from it.
        self.generator.manual_seed(derive_seed(self.training.seed, "objective", epoch))
        self.epoch(epoch)

    def epoch(self, number: int) -> None:
        """Prepare epoch `number`, such as ending a warm-up or freezing a layer; does nothing by default."""

    def settled(self) -> bool:
        """Whether the last stage has begun; an earlier epoch is never chosen as the best one."""
        return True

    def report(self) -> dict[str, float | int | str | None]:
        """Entries of the objective in the history row of the epoch; none by default."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values that a resumed training needs; empty by default."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` gave."""


class Attacked(Objective, ABC):
    """An objective that attacks the images first and then computes its loss on the attacked images.

    The two are separate methods, so that a composition can compute several losses after one attack, as `awp` does.
    """

    def loss(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Tensor:
        """The scalar to minimize for images [B, C, H, W] and labels [B]."""
        return self.loss_on(classifier, images, self.attack(classifier, images, labels), labels)

    @abstractmethod
    def attack(self, classifier: Classifier, images: Tensor, labels: Tensor) -> Any:
        """The attacked images [B, C, H, W] without graph; for a sum of defenses, a list with those of each."""

    @abstractmethod
    def loss_on(self, classifier: Classifier, images: Tensor, attacked: Any, labels: Tensor) -> Tensor:
        """The scalar to minimize, given the result of `attack`."""


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
    #: Whether its objective is an `Attacked` one.
    attacks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for field, kind in _adapters(type(self)).items():
            value = getattr(self, field)
            try:
                object.__setattr__(self, field, kind.validate_python(value))
            except ValidationError as error:
                expected = "; or ".join(dict.fromkeys(_expected(item) for item in error.errors()))
                raise UserError(f"{self.name}: {field} must be {expected}; got {shown(value)}") from None
            made = getattr(self, field)
            number = isinstance(made, int | float) and not isinstance(made, bool)
            if number and (isinstance(value, bool) or not math.isfinite(made)):
                raise UserError(f"{self.name}: {field} must be a finite number; got {shown(value)}")

    def forward_units(self) -> float:
        """Cost of one step in forward passes; a backward pass counts as two. Standard training costs 3."""
        return 3.0

    def attack_units(self) -> float:
        """Cost of the attack alone, a part of `forward_units`; 0 without an attack."""
        return 0.0

    @abstractmethod
    def objective(self, training: Training) -> Objective:
        """Make the objective for one training.

        Raises:
            UserError: when the training is too short for the stages of the defense.
        """

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> Self:
        """Make a defense from hyper-parameters by name; text such as "0.8" or "true" is converted.

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
        """The search range of each hyper-parameter that has one, by name."""
        return {
            field: mark
            for field, hint in _hints(cls).items()
            for mark in getattr(hint, "__metadata__", ())
            if isinstance(mark, Uniform | LogUniform | Choice)
        }

    @classmethod
    def schemas(cls) -> dict[str, dict[str, Any]]:
        """The JSON schema of the values of each hyper-parameter, by name."""
        return {field: adapter.json_schema() for field, adapter in _adapters(cls).items()}

    def hyperparameters(self) -> dict[str, Any]:
        """The value of every hyper-parameter, by name."""
        return {field: getattr(self, field) for field in _hints(type(self))}

    def replace(self, **values: Any) -> Self:
        """A copy with other values."""
        return dataclasses.replace(self, **values)


def check_class(cls: type[Defense], title: str) -> None:
    """Refuse a class whose name, defaults, costs or search ranges are not what a search and a record need.

    Raises:
        UserError: for such a class, with what it should have. Whatever else its own code raises comes through.
    """
    for field in ("name", "family"):
        if not isinstance(getattr(cls, field, None), str):
            raise UserError(f'defense {title!r}: expected a class attribute {field} = "…"')
    if cls.__abstractmethods__:
        raise UserError(
            f"defense {title!r}: the method {', '.join(sorted(cls.__abstractmethods__))} is missing"
        )
    defaults = cls.make({}).hyperparameters()
    space = cls.space()
    if not isinstance(space, dict) or not space.keys() <= defaults.keys():
        raise UserError(
            f"defense {title!r}: space() must give a dict of hyper-parameters, got {shown(space)}"
        )
    for field, search_range in space.items():
        if not isinstance(search_range, Uniform | LogUniform | Choice):
            raise UserError(
                f"defense {title!r}: the search range of {field} must be one of defenses.space, "
                f"got {shown(search_range)}"
            )


def _hints(cls: type[Defense]) -> dict[str, Any]:
    """The annotation of every hyper-parameter, by name; a field that holds components is not one."""
    hints = get_type_hints(cls, include_extras=True)
    fields = [field.name for field in dataclasses.fields(cls) if not field.metadata.get("components")]
    return {name: hints[name] for name in fields}


@cache
def _adapters(cls: type[Defense]) -> dict[str, TypeAdapter[Any]]:
    return {field: TypeAdapter(hint) for field, hint in _hints(cls).items()}


def _expected(item: Any) -> str:
    message = item["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return message.split(", unable to parse")[0]


def _drawing_device(images: Tensor) -> torch.device:
    """Where random numbers for these images are drawn: on their CUDA device, else on the CPU."""
    return images.device if images.is_cuda else torch.device("cpu")


def freeze(module: torch.nn.Module) -> None:
    """Exclude a module's parameters from training."""
    for parameter in module.parameters():
        parameter.requires_grad_(False)
