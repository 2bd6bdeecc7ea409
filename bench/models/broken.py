"""Networks that are deliberately broken: they keep their accuracy and mislead attacks, or what is measured of them.

They belong to no list of networks. A run names one as `bench.models.broken:broken(by=quantized)`.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bench.models.cnn6 import cnn6
from bench.models.lenet import lenet
from bench.models.network import Network, Shape, Width

Way = Literal["quantized", "noisy", "shattered", "turned", "vanishing", "saturated", "binarized", "dropped"]


def broken(
    input_shape: Shape,
    num_classes: int,
    *,
    by: Way = "quantized",
    network: Literal["cnn6", "lenet"] = "cnn6",
    width: Width = 1.0,
) -> Network:
    """A network that is trained as it is, and broken in evaluation alone.

    `by` says how. On its normalized images: "quantized" rounds them, "noisy" adds Gaussian noise, "shattered"
    adds a fine ripple, "turned" gives their gradient the other sign, and "vanishing" makes their gradient
    underflow. Behind the last activation: "saturated" multiplies by 10⁴, "dropped" drops half of the units at
    random. "binarized" replaces the last activation by the sign, in training with a gradient.

    Source: Athalye et al. 2018, arXiv 1802.00420, of which each is a simple case.
    """
    make = {"cnn6": cnn6, "lenet": lenet}[network]
    plain = make(input_shape, num_classes, width=width)
    backbone, activation = plain.backbone, plain.activation
    if by in _IMAGES:
        backbone = nn.Sequential(InEvaluation(_IMAGES[by]), backbone)
    elif by in _FEATURES:
        activation = nn.Sequential(activation, InEvaluation(_FEATURES[by]))
    else:
        activation = Sign()
    return Network(backbone, plain.head, activation=activation, site=plain.site)


class InEvaluation(nn.Module):
    """Changes what passes in evaluation alone.

    Args:
        change: of a tensor, to one of the same shape.
    """

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.change = change

    def forward(self, values: Tensor) -> Tensor:
        """The values, changed in evaluation."""
        return values if self.training else self.change(values)


class Sign(nn.Module):
    """The sign of each value; in training its gradient is that of the identity."""

    def forward(self, values: Tensor) -> Tensor:
        """−1, 0 or 1."""
        return values + (values.sign() - values).detach() if self.training else values.sign()


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


def _quantized(images: Tensor) -> Tensor:
    return (4 * images).round() / 4


def _noisy(images: Tensor) -> Tensor:
    return images + 0.3 * torch.randn_like(images)


def _shattered(images: Tensor) -> Tensor:
    return images + 0.1 * torch.sin(100 * images)


def _turned(images: Tensor) -> Tensor:
    seen: Tensor = _Turned.apply(images)
    return seen


def _vanishing(images: Tensor) -> Tensor:
    return images.detach() + 1e-60 * (images - images.detach())


def _saturated(features: Tensor) -> Tensor:
    return 1e4 * features


def _dropped(features: Tensor) -> Tensor:
    return 2 * features * (torch.rand_like(features) < 0.5)


_IMAGES: dict[str, Callable[[Tensor], Tensor]] = {
    "quantized": _quantized,
    "noisy": _noisy,
    "shattered": _shattered,
    "turned": _turned,
    "vanishing": _vanishing,
}
_FEATURES: dict[str, Callable[[Tensor], Tensor]] = {"saturated": _saturated, "dropped": _dropped}
