"""Checks and conversions of an evaluation's inputs."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.core import values
from bench.core.checks import check_differentiable, check_finite, check_inputs, check_logits
from bench.core.classifier import AnyClassifier, Classifier, WrappedClassifier
from bench.core.errors import NotFinite, UserError
from bench.core.foreign import NO_VALUES, other_type, reason_of
from bench.core.guards import evaluating, random_state_kept
from bench.core.limits import MOST_OF_NAME
from bench.core.threat import NORMS, Threat
from bench.data import Dataset, Split, as_floats, is_one_set, load, make_dataset, only_test_images
from bench.data.pixels import is_nhwc
from bench.evaluation.battery import Battery, make_battery, select
from bench.evaluation.trained import TrainedNetwork
from metrics import Metric

#: Test images that a network is checked on before an evaluation begins.
CHECKED = 100


def as_dataset(
    data: Any,
    model: nn.Module | None = None,
    *,
    train_size: int | None = None,
    test_size: int | None = None,
    data_dir: Path | str | None = None,
) -> Dataset:
    """The data set itself, the one of that name, or one made of images and labels, checked.

    Args:
        data: a `bench.data.Dataset`; a name for `bench.data.load`; or images with labels, for
            `bench.data.make_dataset`.
        model: with it, one undivided set of images is for testing alone; its logits say how many classes there are.
        train_size: of training images; None takes all. A `Dataset` has what it has.
        test_size: the first so many test images; None takes all.
        data_dir: folder of a named data set's files.

    Raises:
        UserError: when it is none of these, or `check_data` refuses it.
    """
    if isinstance(data, Dataset):
        check_data(data)
        if test_size is not None and not 1 <= test_size <= len(data.test):
            raise UserError(f"test_size must lie in 1 … {len(data.test)}, got {test_size}")
        return replace(data, test=data.test.take(test_size)) if test_size else data
    if isinstance(data, str):
        dataset = load(data, data_dir=data_dir, train_size=train_size, test_size=test_size)
    elif model is not None and is_one_set(data):
        dataset = only_test_images(data, partial(count_classes, model), test_size=test_size)
    else:
        dataset = make_dataset(data, train_size=train_size, test_size=test_size)
    check_data(dataset)
    return dataset


def check_undivided(trained: TrainedNetwork, data: Any) -> None:
    """Refuse to test on images that were divided for the training, and so hold training images.

    Raises:
        UserError: for one set of as many images as all splits of the training's data have together.
    """
    if isinstance(data, str | Dataset) or not is_one_set(data):
        return
    own = trained.dataset
    size = len(only_test_images(data, lambda images: own.num_classes).test)
    if size == len(own.train) + len(own.validation) + len(own.test):
        raise UserError(
            f"expected test images, got {size}, as many as were divided into training and test images; give the "
            "trained network's own .dataset"
        )


def device_of(model: nn.Module) -> torch.device:
    """The device of a network's weights; the CPU where it has none.

    Raises:
        UserError: when they are on several devices, or on none, as those of a network on "meta" are.
    """
    devices = {str(tensor.device) for tensor in (*model.parameters(), *model.buffers())}
    if "meta" in devices:
        raise UserError(NO_VALUES)
    if len(devices) > 1:
        some, other = sorted(devices)[:2]
        raise UserError(f"the network's weights are on {some} and {other}; give model.to({other!r})")
    return torch.device(next(iter(devices), "cpu"))


def count_classes(model: nn.Module, images: Tensor) -> int:
    """How many logits a network gives for images [N, C, H, W], uint8 or in [0, 1].

    Raises:
        UserError: when it does not take them, or does not give [N, K].
    """
    images = images[:2].to(device_of(model))
    images = images if images.is_floating_point() else as_floats(images)
    with evaluating(model), random_state_kept(), torch.no_grad():
        try:
            logits = model(images)
        except Exception as error:  # a stranger's code may raise anything
            shape = tuple(images.shape[1:])
            raise UserError(
                f"the network does not take images of shape {shape}: {reason_of(error)}{other_type(model)}"
            ) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"expected logits of shape (batch, classes), the network gave {came}")
    return logits.shape[1]


def as_threat(threat: Threat | str) -> Threat:
    """The threat itself, or the one written as such a text.

    ε may be 0 here; the command line refuses it as a probable mistake.

    Raises:
        UserError: when it is neither.
    """
    if isinstance(threat, Threat):
        return threat
    if not isinstance(threat, str):
        raise UserError(f"expected a threat such as 'linf:8/255', got {threat!r}; an ε needs its norm")
    norm, _, eps = threat.rpartition(":")
    norm = norm.strip().lower() or "linf"
    return Threat(norm, eps.strip()) if norm in NORMS else Threat.parse(threat)  # type: ignore[arg-type]


def as_battery(battery: Battery | str, metrics: str | Sequence[str | Metric | type[Metric]] = ()) -> Battery:
    """The battery itself, the one of that name, or one of chosen metrics.

    Args:
        metrics: as for `bench.evaluation.battery.make_battery`; none takes the whole battery.

    Raises:
        UserError: when it is neither, or for an unknown metric.
    """
    battery = make_battery(battery) if isinstance(battery, str) else battery
    if not isinstance(battery, Battery):
        raise UserError(
            f"expected a bench.evaluation.battery.Battery or the name of one, got {_kind(battery)}; for chosen "
            f"metrics give bench.evaluation.battery.make_battery('quick', [names])"
        )
    return select(battery, [metrics] if isinstance(metrics, str) else metrics) if metrics else battery


def as_classifier(model: nn.Module, dataset: Dataset) -> AnyClassifier:
    """The network with the interface that attacks and metrics use.

    Raises:
        UserError: when its weights are not float32.
    """
    return wrapped(model, dataset.shape, dataset.num_classes)


def wrapped(model: nn.Module, shape: tuple[int, int, int], num_classes: int) -> AnyClassifier:
    """As `as_classifier`, for images of a shape (C, H, W) and a number of classes."""
    if isinstance(model, Classifier | WrappedClassifier):
        return model
    types = {weight.dtype for weight in model.parameters() if weight.is_floating_point()}
    if types and torch.float32 not in types:
        found = ", ".join(sorted(map(str, types)))
        raise UserError(f"expected a network in float32, its weights are {found}; give model.float()")
    return WrappedClassifier(model, shape, num_classes)


def check_module(model: object) -> None:
    """Refuse an object that is no network, and a context in which no network can be attacked.

    Raises:
        UserError: when it is no `torch.nn.Module`, or inside `torch.inference_mode()`.
    """
    check_differentiable()
    if not isinstance(model, nn.Module):
        raise UserError(
            f"expected the network as a torch.nn.Module, got {_kind(model)}; wrap a function in one"
        )


def check_names(*names: str) -> None:
    """Refuse names that a record cannot hold, before anything is measured.

    Raises:
        UserError: for a name that is blank, not printable, or longer than `bench.core.limits.MOST_OF_NAME`.
    """
    for name in names:
        try:
            values.text(name, MOST_OF_NAME)
        except ValueError as error:
            raise UserError(f"a name in a record: {error}") from None


def check_data(dataset: Dataset) -> None:
    """Refuse data that `Split.batch` would silently turn into other pixels or classes.

    Raises:
        UserError: when a split is not uint8 images [N, C, H, W] with labels int64 [N] of the classes, or a class
            has a name that a record cannot hold, or that of another class.
    """
    splits = {"training": dataset.train, "validation": dataset.validation, "test": dataset.test}
    for name, split in splits.items():
        problem = _problem(split, dataset)
        if problem:
            raise UserError(f"{dataset.name}, {name} split: {problem}")
    if len(dataset.test) == 0:
        raise UserError(f"{dataset.name}: expected at least one test image, got none")
    try:
        values.distinct([values.text(name, MOST_OF_NAME) for name in dataset.classes])
    except ValueError as error:
        raise UserError(f"{dataset.name}: the names of its classes: {error}") from None


def _problem(split: Split, dataset: Dataset) -> str:
    images, labels, classes = split.images, split.labels, dataset.num_classes
    for what, tensor in (("images", images), ("labels", labels)):
        if not isinstance(tensor, Tensor):
            return f"expected {what} as a torch.Tensor, got {_kind(tensor)}; torch.as_tensor makes one"
    if images.dtype != torch.uint8:
        return (
            f"expected images as uint8 from 0 to 255, which a network sees as [0, 1], got {_pixels(images)}"
        )
    if images.dim() != 4:
        return f"expected images of shape (N, C, H, W), got {tuple(images.shape)}"
    if is_nhwc(images.shape):
        came = f"{tuple(images.shape)}, which is the layout NHWC"
        return f"expected images of shape (N, C, H, W), got {came}; give images.permute(0, 3, 1, 2)"
    if isinstance(dataset.train.images, Tensor) and dataset.train.images.dim() == 4:
        shape = dataset.shape
        if tuple(images.shape[1:]) != shape:
            return f"expected images of shape (N, {', '.join(map(str, shape))}), got {tuple(images.shape)}"
    if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        return f"expected labels int64 of shape ({len(images)},), got {labels.dtype} {tuple(labels.shape)}"
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        return f"expected labels from 0 to {classes - 1}, got {int(labels.min())} to {int(labels.max())}"
    return ""


def _pixels(images: Tensor) -> str:
    """What was given instead of uint8 pixels, and how to convert it."""
    came = str(images.dtype)
    if images.numel() == 0 or images.dtype == torch.bool:
        return came
    low, high = (bound.item() for bound in images.aminmax())
    if images.is_floating_point() and not bool(images.isfinite().all()):
        return f"{came} with NaN or infinity; an image is broken"
    came = f"{came} from {low:g} to {high:g}"
    if not images.is_floating_point():
        return f"{came}; give images.to(torch.uint8)" if low >= 0 and high <= 255 else came
    if low >= 0 and high <= 1:
        return f"{came}; give (255 * images).round().to(torch.uint8)"
    return f"{came}; undo their normalization to get pixels in [0, 1]; a network normalizes for itself"


@torch.no_grad()
def check_network(classifier: AnyClassifier, images: Tensor, labels: Tensor) -> None:
    """Check a network on some of the images, and between their gray levels, before anything is written.

    Raises:
        UserError: when it does not fit the images, fails on them, or its logits are not finite float32.
    """
    images, labels = images[:CHECKED], labels[:CHECKED]
    check_inputs(classifier, images, labels)
    check_finite(_logits(classifier, images))
    noise = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    if bool(_logits(classifier, (images + (noise - 0.5) / 255).clamp(0, 1)).isnan().any()):
        raise NotFinite(
            "expected finite logits, the network gave NaN between the 256 levels of gray, where attacks look"
        )


def _logits(classifier: AnyClassifier, images: Tensor) -> Tensor:
    with random_state_kept():
        try:
            logits = classifier(images)
        except UserError:
            raise
        except Exception as error:  # a stranger's code may raise anything
            reason = f"{reason_of(error)}{other_type(classifier)}"
            raise UserError(f"the network fails on {len(images)} images: {reason}") from error
    return check_logits(logits, len(images), classifier.num_classes)


def _kind(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__
