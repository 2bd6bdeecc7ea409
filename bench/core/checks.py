"""Check the inputs of attacks and the outputs of networks, and choose how many images fit into one pass."""

import math

import torch
from torch import Tensor

from bench.core.classifier import AnyClassifier
from bench.core.errors import NotFinite, UserError

#: Largest difference of logits between two passes that counts as rounding, relative to the largest logit; a network
#: whose logits differ by more is stochastic.
SAME_LOGITS = 1e-5


def moved_between(first: Tensor, second: Tensor) -> float:
    """The largest difference of two passes' logits [B, K], relative to the largest logit."""
    return float((first - second).abs().max() / first.abs().max().clamp_min(1e-12))


def moved_by_batch(classifier: AnyClassifier, images: Tensor, logits: Tensor) -> Tensor:
    """How far each image's logits move when it is alone, or in a batch of another order.

    Args:
        classifier: in eval mode.
        images: [n, C, H, W], at least one.
        logits: of the images [n, K], from a larger batch or this one.

    Returns:
        [n], relative to the largest logit of all.
    """
    alone = torch.cat([classifier(image) for image in images.split(1)])
    turned = classifier(images.flip(0)).flip(0)
    moved = torch.maximum((alone - logits).abs(), (turned - logits).abs()).amax(dim=1)
    return moved / logits.abs().max().clamp_min(1e-12)


def runner_up_is_tied(logits: Tensor) -> Tensor:
    """For which images the second largest logit says nothing about the image: bool [n].

    It equals the third largest exactly, or it is the value that most images have there.

    Args:
        logits: [n, K] of different images, K ≥ 3.
    """
    second, third = logits.topk(3, dim=1).values[:, 1:].unbind(dim=1)
    usual = second.mode().values
    constant = (second == usual) & (2 * (second == usual).sum() > len(second)) & (len(second) > 1)
    return (second == third) | constant


def images_per_pass(images: Tensor, most: int) -> int:
    """How many images to push through a network at once, at most `most`.

    On a CPU about 2^16 pixels: more do not stay in its caches between two layers, and each image takes longer.
    """
    if images.device.type != "cpu":
        return most
    return min(most, max(16, 2**16 // (images.shape[-2] * images.shape[-1])))


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
    check_differentiable(images)
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
        hint = "the network normalizes for itself"
        raise UserError(f"expected pixels in [0, 1], got {low:g} to {high:g}; {hint}")
    for name, classes in (("labels", labels), ("targets", targets)):
        if classes is not None:
            _check_classes(name, classes, len(images), classifier.num_classes)
    if labels is not None and targets is not None and bool((labels == targets).any()):
        raise UserError("expected targets that differ from the labels; some are equal")


def check_differentiable(images: Tensor | None = None) -> None:
    """Refuse inference mode, in which every gradient would be zero and every network look robust.

    Raises:
        UserError: inside `torch.inference_mode()`, or for images that were made there.
    """
    if torch.is_inference_mode_enabled() or (images is not None and images.is_inference()):
        where = "for images made" if not torch.is_inference_mode_enabled() else "a call"
        raise UserError(
            f"attacks need gradients, got {where} in torch.inference_mode(); use torch.no_grad() there instead"
        )


def check_batch_size(batch_size: int) -> None:
    """Refuse what is no number of images.

    Raises:
        UserError: when it is no whole number from 1 on.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"expected a batch size from 1 on, got {batch_size!r}")


def _check_classes(name: str, classes: Tensor, size: int, num_classes: int) -> None:
    if classes.dtype != torch.int64 or tuple(classes.shape) != (size,):
        raise UserError(
            f"expected {name} int64 of shape ({size},), got {classes.dtype} {tuple(classes.shape)}"
        )
    low, high = (bound.item() for bound in classes.aminmax())
    if low < 0 or high >= num_classes:
        raise UserError(f"expected {name} from 0 to {num_classes - 1}, got {low} to {high}")


def check_logits(logits: Tensor, size: int, num_classes: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """The logits themselves, when they are a tensor [size, num_classes] of that type.

    Raises:
        UserError: when the network gave something else.
    """
    if not isinstance(logits, Tensor) or tuple(logits.shape) != (size, num_classes):
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UserError(f"expected logits of shape ({size}, {num_classes}), the network gave {came}")
    if logits.dtype != dtype:
        raise UserError(f"expected logits in {dtype}, the network gave {logits.dtype}; end it with .float()")
    return logits


def check_finite(values: Tensor) -> None:
    """Refuse NaN in logits, or in losses made from them.

    Raises:
        NotFinite: when there is any.
    """
    if bool(values.isnan().any()):
        raise NotFinite("expected finite logits, the network gave NaN or infinity; did its training diverge?")
