"""Layers whose input gradient is cheap to differentiate.

Double backpropagation differentiates each layer's backward pass. PyTorch's own costs more than it must, in three
ways:

- For the weight of a convolution it convolves with a kernel as large as the image. Here both directions use the
  kernels of training.
- ReLU and max pooling send zeros back to their inputs, on which the whole first backward pass is then taken again.
  Their backward passes depend on their inputs by a choice alone, so nothing is sent here.
- Batch norm in eval mode is differentiated as if it were in training, by a dozen passes over the maps in float32.
  Here it is the affine map that it is.

The values are the same up to rounding, in float32 and under autocast.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

#: Stride, padding, dilation and groups.
Geometry = tuple[list[int], list[int], list[int], int]

aten = torch.ops.aten


class CheapDoubleBackward(TorchFunctionMode):
    """A context in which layers support fast double backpropagation.

    These are `conv2d`, ReLU, max pooling, and batch norm in eval mode. The graph supports what penalties need: the
    gradient in the images, but not in the weights, with `create_graph=True`, and then any first derivative.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name == "conv2d" and not kwargs and len(args) == 7 and not isinstance(args[4], str):
            images, weight, bias, stride, padding, dilation, groups = _autocast(*args[:3]) + args[3:]
            if images.dtype == weight.dtype:
                geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
                return _Convolution.apply(images, weight, bias, geometry)
        elif name == "relu" and not (kwargs.get("inplace") or args[1:2] == (True,)):
            return _ReLU.apply(args[0])
        elif (
            func is F.max_pool2d
            and len(args) == 2
            and not kwargs.get("return_indices")
            and args[0].dim() == 4
        ):
            return _max_pool2d(*args, **kwargs)
        elif func is F.batch_norm and len(args) == 3 and _is_affine(*args, kwargs):
            return _BatchNorm.apply(args[0], kwargs["weight"], kwargs["bias"], *args[1:], kwargs["eps"])
        return func(*args, **kwargs)


def _is_affine(
    images: Tensor, mean: Tensor | None, variance: Tensor | None, settings: dict[str, Any]
) -> bool:
    """Whether a call of batch norm is in eval mode, on maps, and with all its parameters."""
    parts = (mean, variance, settings.get("weight"), settings.get("bias"))
    return images.dim() == 4 and settings.get("training") is False and all(part is not None for part in parts)


def _autocast(*tensors: Tensor | None) -> tuple[Any, ...]:
    """Tensors as a convolution gets them: in the type of autocast, where it is on."""
    kind = tensors[0].device.type if tensors[0] is not None else "cpu"
    if not torch.is_autocast_enabled(kind):
        return tensors
    dtype = torch.get_autocast_dtype(kind)
    return tuple(tensor.to(dtype) if tensor is not None else None for tensor in tensors)


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


class _ReLU(torch.autograd.Function):
    """y = max(x, 0)."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        result = images.clamp_min(0)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (result,) = ctx.saved_tensors
        masked: Tensor = _Masked.apply(gradient, result.detach())
        return masked


class _Masked(torch.autograd.Function):
    """g where y > 0, else 0: linear in g."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, result: Tensor) -> Tensor:
        ctx.save_for_backward(result)
        masked: Tensor = aten.threshold_backward(gradient, result, 0)
        return masked

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        return _Masked.apply(direction, result), None


def _max_pool2d(
    images: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Tensor:
    kernel = _pair(kernel_size)
    window = (kernel, kernel if stride is None else _pair(stride), _pair(padding), _pair(dilation), ceil_mode)
    pooled: Tensor = _MaxPool.apply(images, window)
    return pooled


class _MaxPool(torch.autograd.Function):
    """The largest value of each window."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, window: tuple[Any, ...]) -> Tensor:
        result, places = aten.max_pool2d_with_indices(images, *window)
        ctx.save_for_backward(images, places)
        ctx.window = window
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        images, places = ctx.saved_tensors
        return _Unpooled.apply(gradient, images.detach(), places, ctx.window), None


class _Unpooled(torch.autograd.Function):
    """g at the place of each window's largest value: linear in g."""

    @staticmethod
    def forward(
        ctx: Any, gradient: Tensor, images: Tensor, places: Tensor, window: tuple[Any, ...]
    ) -> Tensor:
        ctx.save_for_backward(places)
        spread: Tensor = aten.max_pool2d_with_indices_backward(gradient, images, *window, places)
        return spread

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, None, None, None]:
        (places,) = ctx.saved_tensors
        chosen = direction.flatten(2).gather(2, places.flatten(2)).view(places.shape)
        return chosen.contiguous(memory_format=_layout(direction)), None, None, None


def _layout(images: Tensor) -> torch.memory_format:
    innermost = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if innermost else torch.contiguous_format


class _BatchNorm(torch.autograd.Function):
    """y = γ·(x − μ)/√(σ² + ε) + β with given μ and σ²."""

    @staticmethod
    def forward(
        ctx: Any,
        images: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
    ) -> Tensor:
        # Copies of the statistics, which a later pass in training mode moves.
        ctx.save_for_backward(images, weight, mean.clone(), variance.clone())
        ctx.eps = eps
        return F.batch_norm(images, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, mean, variance = ctx.saved_tensors
        if torch.is_grad_enabled():
            scale = weight * (variance + ctx.eps).rsqrt()
            return _Scaled.apply(gradient, scale), None, None, None, None, None
        wanted = ctx.needs_input_grad[:3]
        return (
            *_normalization_gradients(gradient, images, weight, mean, variance, ctx.eps, wanted),
            None,
            None,
            None,
        )


def _normalization_gradients(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor,
    mean: Tensor,
    variance: Tensor,
    eps: float,
    wanted: Sequence[bool],
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """The gradients of batch norm in eval mode in images, weight and bias, where they are wanted."""
    # Kernels for channels innermost on CUDA devices ask for saved statistics, which are empty in eval mode.
    saved = mean.new_empty(0)
    return aten.native_batch_norm_backward(
        gradient, images, weight, mean, variance, saved, saved, False, eps, wanted
    )


class _Scaled(torch.autograd.Function):
    """s·g for one s per channel, linear in both."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(gradient, scale)
        # In one pass, and in float32 inside, which a product of two types is not. The division is by √(0 + 1).
        nothing = torch.zeros_like(scale)
        return F.batch_norm(gradient, nothing, nothing, scale, None, False, 0.0, 1.0)

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, Tensor | None]:
        gradient, scale = ctx.saved_tensors
        nothing, wanted = torch.zeros_like(scale), [*ctx.needs_input_grad[:2], False]
        return _normalization_gradients(direction, gradient, scale, nothing, nothing, 1.0, wanted)[:2]
