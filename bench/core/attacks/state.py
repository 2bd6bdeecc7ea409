"""The frame around every attack: what it is given is checked, what it works on is left as it was found."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.core.classifier import AnyClassifier
from bench.core.errors import NotFinite, UserError


@contextmanager
def evaluating(classifier: nn.Module) -> Iterator[None]:
    """Put a network in eval mode, then give each module its own mode back (one may be frozen by hand)."""
    modes = [(module, module.training) for module in classifier.modules()]
    classifier.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def frozen(classifier: nn.Module) -> Iterator[None]:
    """Let no gradient reach the parameters, then give each its own `requires_grad` back."""
    flags = [(parameter, parameter.requires_grad) for parameter in classifier.parameters()]
    classifier.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Restore torch's global random state of the CPU and of every GPU, whatever the block draws or seeds."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with torch.random.fork_rng(devices=list(devices)):
        yield


def check_inputs(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor | None = None,
    targets: Tensor | None = None,
    *,
    box: bool = True,
) -> None:
    """Refuse what no attack can work on.

    Args:
        classifier: tells the shape of an image and the number of classes.
        images: expected float32 [B, C, H, W], finite.
        labels: expected int64 [B] in 0 … K − 1.
        targets: like the labels, and nowhere equal to them.
        box: expect pixels in [0, 1].

    Raises:
        UserError: when they are something else.
    """
    shape = tuple(classifier.input_shape)
    if images.dtype != torch.float32:
        hint = "divide by 255" if not images.is_floating_point() else "call .float()"
        raise UserError(f"expected float32 images in [0, 1], got {images.dtype}; {hint}")
    if images.dim() != 4 or tuple(images.shape[1:]) != shape:
        raise UserError(
            f"expected images of shape (batch, {', '.join(map(str, shape))}), got {tuple(images.shape)}"
        )
    if len(images) == 0:
        raise UserError("expected at least one image to attack, got none")
    low, high = (bound.item() for bound in images.aminmax())
    if not math.isfinite(high - low):
        raise UserError(f"expected finite pixels, got {low:g} to {high:g}; an image is broken")
    if box and (low < 0 or high > 1):
        hint = "the network normalises for itself"
        raise UserError(f"expected pixels in [0, 1], got {low:g} to {high:g}; {hint}")
    for name, classes in (("labels", labels), ("targets", targets)):
        if classes is not None:
            _check_classes(name, classes, len(images), classifier.num_classes)
    if labels is not None and targets is not None and bool((labels == targets).any()):
        raise UserError("expected targets that differ from the labels; some are equal")


def _check_classes(name: str, classes: Tensor, size: int, num_classes: int) -> None:
    if classes.dtype != torch.int64 or tuple(classes.shape) != (size,):
        raise UserError(
            f"expected {name} int64 of shape ({size},), got {classes.dtype} {tuple(classes.shape)}"
        )
    low, high = (bound.item() for bound in classes.aminmax())
    if low < 0 or high >= num_classes:
        raise UserError(f"expected {name} from 0 to {num_classes - 1}, got {low} to {high}")


def check_logits(logits: Tensor, size: int, num_classes: int) -> Tensor:
    """The logits themselves, when they are a tensor [size, num_classes].

    Raises:
        UserError: when the network gave something else.
    """
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (size, num_classes):
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"expected logits of shape ({size}, {num_classes}), the network gave {came}")
    return logits


def check_finite(values: Tensor) -> None:
    """Refuse NaN in logits, or in losses made from them.

    Raises:
        NotFinite: when there is any.
    """
    if bool(values.isnan().any()):
        raise NotFinite("expected finite logits, the network gave NaN or infinity; did its training diverge?")
