"""Convolutions whose input gradient is cheap to differentiate.

Double backpropagation differentiates each layer's backward pass. For the weight, PyTorch does so by a convolution
with a kernel as large as the image, which on a CPU takes about three times as long as the weight gradient of
training. Here both directions use the kernels of training and give the same values.
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
    """A context in which `conv2d` supports fast double backpropagation.

    The graph supports what penalties need: the gradient in the images, but not in the weights, with
    `create_graph=True`, and then any first derivative. Under autocast, PyTorch's own convolutions are used.
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
        images = gradient.new_empty(1).expand(shape)  # only its shape is used
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
    """∂(g·y)/∂(x, W, b), None for those that are not wanted."""
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
