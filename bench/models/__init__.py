"""Networks by name, one file each; each takes images of any size from 8x8 pixels on."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from bench.core.errors import UserError
from bench.core.lazy import imported_from
from bench.core.registry import imported_on_use
from bench.models.variants import Networks

if TYPE_CHECKING:
    from torch import nn

    from bench.core.classifier import Classifier
    from bench.models.network import Network, Shape, convolutions, hidden
else:
    __getattr__ = imported_from(
        __name__, {"bench.models.network": ("Network", "Shape", "convolutions", "hidden")}
    )

__all__ = [
    "MODELS",
    "SMALLEST_SIDE",
    "Network",
    "Shape",
    "build",
    "convolutions",
    "hidden",
    "make_classifier",
]

#: Smallest side of an image that every network accepts, in pixels.
SMALLEST_SIDE = 8

#: Name → builder `(input_shape, num_classes, *, OPTION=DEFAULT, …) -> Network`; a name may carry options.
MODELS = Networks(
    "network",
    "bench.models",
    {
        "cnn6": imported_on_use("bench.models.cnn6:cnn6"),
        "vgg16": imported_on_use("bench.models.vgg16:vgg16"),
        "vgg16-bn": imported_on_use("bench.models.vgg16:vgg16_bn"),
        "resnet18": imported_on_use("bench.models.resnet18:resnet18"),
        "resnet18-imagenet": imported_on_use("bench.models.resnet18:resnet18_imagenet"),
        "lenet": imported_on_use("bench.models.lenet:lenet"),
        "nin": imported_on_use("bench.models.nin:nin"),
        "mnist4": imported_on_use("bench.models.mnist4:mnist4"),
        "conv5gap": imported_on_use("bench.models.conv5gap:conv5gap"),
    },
)


def build(
    name: str,
    *,
    input_shape: "Shape",
    num_classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int,
) -> "Classifier":
    """Build a classifier with fresh weights, which depend on the seed alone.

    Args:
        name: a network of `MODELS`, or `module:function`, with options such as `cnn6(activation=silu)`. The
            function may take `input_shape` and `num_classes`. It returns a `Network`, or any module from images in
            [0, 1] to logits, which normalizes for itself.
        input_shape: (C, H, W) of the images; H and W at least 8.
        num_classes: K, at least 2.
        mean, std: normalization of pixels in [0, 1], one value per channel, applied inside the classifier; None
            for no normalization.
        seed: of the initial weights; the global random state is left unchanged.

    Raises:
        UserError: for an unknown name, images that are too small, fewer than 2 classes, or a plug-in that returns
            something else, or a module that does not fit the data.
    """
    builder = MODELS.get(name)
    about: Any = {"input_shape": input_shape, "num_classes": num_classes, "mean": mean, "std": std}
    with MODELS.calling(name):
        return make_classifier(builder, name, **about, seed=seed)


def make_classifier(
    builder: Callable[..., Any],
    name: str,
    *,
    input_shape: "Shape",
    num_classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int,
) -> "Classifier":
    """As `build`, for the function that makes the network; `name` is what messages call it."""
    from torch import nn

    from bench.core.classifier import Classifier
    from bench.core.foreign_code import call_offering
    from bench.core.randomness import seeded
    from bench.models.network import Network

    _, height, width = input_shape
    if min(height, width) < SMALLEST_SIDE:
        raise UserError(
            f"networks need images of at least {SMALLEST_SIDE}x{SMALLEST_SIDE} pixels, got {height}x{width}; "
            "enlarge them first"
        )
    if num_classes < 2:
        raise UserError(f"a classifier needs at least 2 classes, got {num_classes}")
    if isinstance(builder, nn.Module):
        raise UserError(
            f"network {name!r}: expected a function that makes the network, so that each seed has its own weights, "
            "got a network that is made already"
        )
    with seeded(seed, "weights"):
        network = call_offering(builder, input_shape=input_shape, num_classes=num_classes)
        if isinstance(network, nn.Module):
            return _whole(network, name, input_shape, num_classes)
    if not isinstance(network, Network):
        raise UserError(
            f"network {name!r}: expected a function that returns a torch.nn.Module or a bench.models.Network, "
            f"it returned {type(network).__name__}"
        )
    return Classifier(
        network.backbone,
        network.head,
        activation=network.activation,
        site=network.site,
        input_shape=input_shape,
        mean=mean,
        std=std,
    )


def _whole(module: "nn.Module", name: str, input_shape: "Shape", num_classes: int) -> "Classifier":
    """A network that is not divided into parts, behind the interface of one that is."""
    import torch

    from bench.core.classifier import Classifier, WrappedClassifier

    try:
        # Whoever needs its features asks for its `site` first.
        return cast(Classifier, WrappedClassifier(module.to(torch.float32), input_shape, num_classes))
    except UserError as error:
        raise UserError(f"network {name!r}: {error}") from error
