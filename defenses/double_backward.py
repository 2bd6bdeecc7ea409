"""Convolutions whose input gradient is cheap to differentiate.

Double backpropagation differentiates each layer's backward pass. PyTorch's own rule for convolutions gets the
weight's share of that from a convolution with a kernel as large as the image, which on a CPU takes about three
times as long as training's weight gradient. Here both directions use the kernels of training, to the same values.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

#: Stride, padding, dilation and groups.
Geometry = tuple[list[int], list[int], list[int], int]


class CheapDoubleBackward(TorchFunctionMode):
    """While it is entered, `conv2d` is one that double backpropagation passes quickly.

    The graph then allows what penalties do: the gradient by the images with `create_graph=True`, which leaves the
    weights out, and after that any first derivative. Autocast keeps PyTorch's own convolutions.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "") == "conv2d" and not kwargs and len(args) == 7:
            images, weight, bias, stride, padding, dilation, groups = args
            plain = images.dtype == weight.dtype and not torch.is_autocast_enabled(images.device.type)
            if plain and not isinstance(padding, str):
                geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
                return _Convolution.apply(images, weight, bias, geometry)
        return func(*args, **(kwargs or {}))


def _pair(value: int | tuple[int, int]) -> list[int]:
    return [value, value] if isinstance(value, int) else list(value)


class _Convolution(torch.autograd.Function):
    """y = W ∗ x + b."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.geometry = geometry
        return F.conv2d(images, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _InputGradient.apply(gradient, weight, images.shape, ctx.geometry), None, None, None
        return (*_gradients(gradient, images, weight, ctx.geometry, ctx.needs_input_grad[:3]), None)


class _InputGradient(torch.autograd.Function):
    """∂(g·y)/∂x, linear in g and in W."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, weight: Tensor, shape: torch.Size, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(gradient, weight)
        ctx.geometry = geometry
        images = gradient.new_empty(1).expand(shape)  # its shape alone is looked at
        result = _gradients(gradient, images, weight, geometry, (True, False, False))[0]
        assert result is not None
        return result

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        gradient, weight = ctx.saved_tensors
        along = by_weight = None
        if ctx.needs_input_grad[0]:
            along = F.conv2d(direction, weight, None, *ctx.geometry)
        if ctx.needs_input_grad[1]:
            by_weight = _gradients(gradient, direction, weight, ctx.geometry, (False, True, False))[1]
        return along, by_weight, None, None


def _gradients(
    gradient: Tensor, images: Tensor, weight: Tensor, geometry: Geometry, wanted: tuple[bool, ...]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """∂(g·y)/∂(x, W, b), those that are wanted."""
    stride, padding, dilation, groups = geometry
    return torch.ops.aten.convolution_backward(
        gradient,
        images,
        weight,
        [len(weight)],
        stride,
        padding,
        dilation,
        False,
        [0, 0],
        groups,
        list(wanted),
    )
