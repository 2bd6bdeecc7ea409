"""Intervals of the values in a network, and what single operations make of them."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Every result of a linear operation is widened by this, relative to the values that enter it, against rounding.
SLACK = 1e-14


class NotBounded(Exception):
    """The network has an operation whose bounds are not known; the message names it."""


@dataclass(frozen=True)
class Interval:
    """All values from `lower` to `upper`, elementwise, float64 [B, …]."""

    lower: Tensor
    upper: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Interval":
        """Apply a function that never falls, or one that moves entries around."""
        return Interval(function(self.lower), function(self.upper))

    def affine(self, linear: Callable[[Tensor, bool], Tensor]) -> "Interval":
        """Apply a linear map, given as a function of the values and of whether to take the weights' sizes.

        The center goes through the weights, half the width through their absolute values.
        """
        center, reach = (self.upper + self.lower) / 2, (self.upper - self.lower) / 2
        middle = linear(center, False)
        around = linear(reach + SLACK * (center.abs() + reach), True) + SLACK * middle.abs()
        return Interval(middle - around, middle + around)


#: SiLU and GELU fall up to their only minimum and rise from there: where it is, and its value, both rounded.
DIPS: dict[Any, tuple[float, float]] = {
    "silu": (-1.278464543, -0.278464543),
    "gelu": (-0.751791525, -0.169971208),
}


def linear(module: nn.Linear | nn.Conv2d, value: Interval) -> Interval:
    """Bounds behind a fully connected or convolutional layer."""
    weight = module.weight.double()
    bias = module.bias.double() if module.bias is not None else None

    def apply(values: Tensor, sizes: bool) -> Tensor:
        used, added = (weight.abs(), None) if sizes else (weight, bias)
        if isinstance(module, nn.Linear):
            return F.linear(values, used, added)
        # The convolution's own padding, at whose border all values are zero.
        return module._conv_forward(values, used, added)

    return value.affine(apply)


def batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, value: Interval) -> Interval:
    """Bounds behind a batch norm on its running statistics."""
    assert module.running_mean is not None
    assert module.running_var is not None
    scale = (module.running_var.double() + module.eps).rsqrt()
    shift = -module.running_mean.double() * scale
    if module.affine:
        scale, shift = scale * module.weight.double(), shift * module.weight.double() + module.bias.double()
    shape = (1, -1, *[1] * (value.lower.dim() - 2))
    scale, shift = scale.view(shape), shift.view(shape)
    return value.affine(lambda values, sizes: values * scale.abs() if sizes else values * scale + shift)


def dipping(value: Interval, function: Callable[[Tensor], Tensor], at: float, low: float) -> Interval:
    """Bounds of a function that falls up to `at`, where it is `low`, and rises from there."""
    first, last = function(value.lower), function(value.upper)
    inside = (value.lower <= at + 1e-8) & (value.upper >= at - 1e-8)
    least = torch.where(inside, torch.full_like(first, low - 1e-8), torch.minimum(first, last))
    return Interval(least - SLACK, torch.maximum(first, last) + SLACK)


#: Operations of two values → their sign.
ARITHMETIC: dict[Any, str] = {
    operator.add: "+",
    torch.add: "+",
    operator.iadd: "+",
    "add": "+",
    "add_": "+",
    operator.sub: "-",
    torch.sub: "-",
    "sub": "-",
    operator.mul: "*",
    torch.mul: "*",
    "mul": "*",
    operator.truediv: "/",
    torch.div: "/",
    "div": "/",
}


def arithmetic(sign: str, left: Any, right: Any) -> Interval:
    """Sum and difference of intervals or constants; product and quotient of an interval and a constant."""
    if isinstance(left, Interval) and isinstance(right, Interval):
        if sign == "+":
            return Interval(left.lower + right.lower, left.upper + right.upper)
        if sign == "-":
            return Interval(left.lower - right.upper, left.upper - right.lower)
        raise NotBounded(f"interval bounds do not know the {sign} of two values that depend on the image")
    if isinstance(right, Interval):
        if sign == "/":
            raise NotBounded("interval bounds do not know division by what depends on the image")
        if sign == "-":
            return Interval(left - right.upper, left - right.lower)
        left, right = right, left
    if sign in "+-":
        return left.map(lambda bound: bound + right if sign == "+" else bound - right)
    factor = torch.as_tensor(right, dtype=torch.float64, device=left.lower.device)
    factor = factor if sign == "*" else 1 / factor
    return left.affine(lambda values, sizes: values * (factor.abs() if sizes else factor))
