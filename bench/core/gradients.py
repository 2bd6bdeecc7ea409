"""The input gradients of several values of every image, from one forward pass."""

import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from bench.core.passes import batched_backward

#: Values of all images in one pass on the CPU, 64 of 3x32x32: their activations still fit its caches;
#: larger passes are up to twice as slow.
_CPU_VALUES = 64 * 3 * 32 * 32
#: Images in one pass on the CPU, however large they are.
_CPU_ROWS = 16
#: Rows in one batched backward pass on an accelerator, which a few thousand keep busy.
_DEVICE_ROWS = 4096


def cached_rows(image: Tensor, most: int) -> int:
    """How many images like this one to push through a network at once.

    At most `most`, and on the CPU what its caches hold.
    """
    if image.device.type != "cpu":
        return most
    return min(most, max(_CPU_ROWS, _CPU_VALUES // max(1, image.numel())))


def input_gradients(values: Tensor, points: Tensor, *, keep_graph: bool = False) -> Iterator[Tensor]:
    """For each column of `values` in turn, the gradient of every image's own value by that image.

    As many columns as fit share one batched backward pass; the others, and the columns of a network that
    cannot be batched, take one each. Zero where a value does not depend on the image.

    Args:
        values: [B, R], with the graph that leads to `points`.
        points: [B, C, H, W], requiring a gradient.
        keep_graph: leave the graph for further passes.

    Yields:
        R times [B, C, H, W].
    """
    columns = values.shape[1]
    at_once = max(1, cached_rows(points[0], _DEVICE_ROWS) // len(points))
    for start in range(0, columns, at_once):
        some = values[:, start : start + at_once]
        keep = keep_graph or start + at_once < columns
        gradients = _batched(some, points) if some.requires_grad and some.shape[1] > 1 else None
        if gradients is not None:
            yield from gradients
            continue
        for column in range(some.shape[1]):
            last = column == some.shape[1] - 1
            yield input_gradient(some[:, column], points, keep_graph=keep or not last)


def _batched(values: Tensor, points: Tensor) -> Tensor | None:
    """The gradients of all columns [R, B, C, H, W], or None where the backward pass cannot be batched."""
    columns = values.shape[1]
    chosen = torch.eye(columns, dtype=values.dtype, device=values.device)
    chosen = chosen[:, None, :].expand(columns, len(values), columns)
    try:
        with warnings.catch_warnings(), batched_backward(columns):
            # An operation without a batching rule is looped over inside, with a warning.
            warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
            (gradients,) = torch.autograd.grad(
                values, points, chosen, retain_graph=True, is_grads_batched=True, allow_unused=True
            )
    except RuntimeError:  # an autograd.Function without a rule for batches, or memory ran out
        return None
    if gradients is None:
        return torch.zeros_like(points).expand(columns, *points.shape)
    return gradients.nan_to_num(nan=0.0)


def input_gradient(losses: Tensor, points: Tensor, *, keep_graph: bool = False) -> Tensor:
    """The gradient of every image's own loss [B] by that image [B, C, H, W]; no parameter gets a gradient.

    Zero where the loss does not depend on the image or the derivative is NaN: there is no direction to take.
    """
    if not losses.requires_grad:
        return torch.zeros_like(points)
    every = torch.ones_like(losses)
    (gradient,) = torch.autograd.grad(losses, points, every, retain_graph=keep_graph, materialize_grads=True)
    return gradient.nan_to_num(nan=0.0)


def is_zero(gradient: Tensor) -> Tensor:
    """Which images' gradients [B, C, H, W] are exactly zero in every entry: bool [B]."""
    return ~gradient.flatten(1).any(dim=1)
