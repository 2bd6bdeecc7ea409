"""Train one network with one defense, from Python."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from bench.core import record as schema
from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import UserError, unknown_name
from bench.core.foreign import try_training
from bench.core.guards import torch_defaults
from bench.core.progress import Progress
from bench.core.randomness import seeded
from bench.core.threat import Threat
from bench.core.values import PRECISIONS, shown
from bench.data import Dataset, defaults_of
from bench.evaluation.describe import Trained, code_of_defense
from bench.evaluation.inputs import as_dataset, as_threat, check_module, device_of, wrapped
from bench.evaluation.trained import TrainedNetwork
from bench.models import MODELS, build, make_classifier
from bench.training.loop import Diverged
from bench.training.loop import train as train_in_place
from bench.training.precision import Choice, choose
from bench.training.recipe import Recipe, make_recipe
from defenses import Defense
from defenses import get as get_defense


@torch_defaults()
def train(
    model: nn.Module | Callable[..., Any] | str,
    data: Any,
    threat: Threat | str,
    defense: Defense | type[Defense] | str = "standard",
    *,
    set: Mapping[str, Any] | None = None,
    recipe: Recipe | str = "paper",
    epochs: int | None = None,
    seed: int = 0,
    precision: str = "auto",
    train_size: int | None = None,
    test_size: int | None = None,
    data_dir: Path | str | None = None,
    device: torch.device | str | None = None,
    checkpoint: Path | str | None = None,
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train a network with a defense, as `bench run` does for one setting and one seed.

    Args:
        model: a name of `bench list models`; a function or class that makes a network, as for `bench run --model`;
            or a network, of which a copy is trained, from the weights that it has.
        data: training and test images in a form of `bench.data.make_dataset`, a `bench.data.Dataset`, or the name
            of one. One undivided set of images is divided: a fixed fifth is for testing.
        threat: norm and ε to defend against, or text such as "linf:8/255".
        defense: its name, its class, or one with its hyper-parameters.
        set: hyper-parameters by name, for a name or a class; the paper's by default.
        recipe: optimizer, learning rate, batches and augmentation, or text such as "paper,batch_size=64".
        epochs: passes over the training images; by default those of `bench list datasets`.
        seed: of initial weights and training.
        precision: "fp32", "bf16", "bf16-compiled", or "auto" for the fastest, as `bench run` chooses.
        train_size, test_size: as for `bench.data.load`.
        data_dir: folder of a named data set's files.
        device: where to train; by default where the network is, or on a CUDA device where there is one.
        checkpoint: a file to resume from, written after each epoch; None keeps no state.
        progress: where bars go; silent by default.

    Raises:
        UserError: for an unknown name or a bad value, a network that cannot be trained or does not fit the defense,
            a training whose loss is no longer finite, or a checkpoint of another training.
    """
    threat = as_threat(threat)
    chosen = _defense(defense, set or {})
    recipe = make_recipe(recipe) if isinstance(recipe, str) else recipe
    dataset = as_dataset(data, train_size=train_size, test_size=test_size, data_dir=data_dir)
    if len(dataset.train) == 0:
        raise UserError("expected training images, got none")
    if isinstance(model, nn.Module):
        device = device or device_of(model)
    dataset = dataset.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    classifier = _classifier(model, dataset, seed).to(dataset.train.images.device)
    if isinstance(classifier, WrappedClassifier):
        try_training(classifier.module, dataset.shape, dataset.num_classes)
    epochs = defaults_of(data if isinstance(data, str) else "").epochs if epochs is None else epochs
    if precision not in PRECISIONS:
        raise unknown_name("precision", precision, PRECISIONS)
    choice = (
        choose(chosen, classifier, dataset.train, recipe, threat, epochs, _name(model))
        if precision == "auto"
        else Choice(precision, {})
    )
    try:
        result = train_in_place(
            chosen,
            classifier,
            dataset,
            recipe,
            threat,
            epochs=epochs,
            seed=seed,
            precision=choice.precision,
            checkpoint=Path(checkpoint) if checkpoint is not None else None,
            progress=progress,
        )
    except Diverged as error:
        raise UserError(f"training failed: {error}") from error
    about = schema.Defense(
        name=defense if isinstance(defense, str) else chosen.name,
        hyperparameters=chosen.hyperparameters(),
        defaults=type(chosen).make({}).hyperparameters(),
    )
    trained = Trained(
        about,
        recipe,
        choice.precision,
        epochs,
        result.epoch_of_weights,
        result.best_epoch,
        result.history,
        _code(model, type(chosen)),
        choice.step_seconds,
    )
    return TrainedNetwork(classifier, _name(model), dataset, trained)


def _defense(defense: Defense | type[Defense] | str, values: Mapping[str, Any]) -> Defense:
    if isinstance(defense, Defense):
        if values:
            raise UserError(
                "set= goes with the name or the class of a defense; give this one its values itself"
            )
        return defense
    found = get_defense(defense) if isinstance(defense, str) else defense
    if not (isinstance(found, type) and issubclass(found, Defense)):
        raise UserError(f"expected a defense, its class or its name, got {shown(defense)}")
    return found.make(values)


def _classifier(model: nn.Module | Callable[..., Any] | str, dataset: Dataset, seed: int) -> Classifier:
    about: dict[str, Any] = {
        "input_shape": dataset.shape,
        "num_classes": dataset.num_classes,
        "mean": dataset.mean,
        "std": dataset.std,
    }
    if isinstance(model, str):
        return build(model, **about, seed=seed)
    if callable(model) and not isinstance(model, nn.Module):
        return make_classifier(model, _name(model), **about, seed=seed)
    check_module(model)
    with seeded(seed, "weights"):
        # Lazy layers draw their weights here.
        return cast(Classifier, wrapped(copy.deepcopy(model), dataset.shape, dataset.num_classes))


def _code(model: object, defense: type[Defense]) -> tuple[tuple[str, object], ...]:
    """The parts of a training that may be plug-ins; the classes of the network itself are found in it."""
    maker = MODELS.get(model) if isinstance(model, str) else model
    return (*code_of_defense(defense), *([] if isinstance(maker, nn.Module) else [("network", maker)]))


def _name(model: object) -> str:
    if isinstance(model, str):
        return MODELS.canonical(model)
    return str(getattr(model, "__name__", type(model).__name__))
