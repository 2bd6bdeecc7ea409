"""The parts that a network's file returns, and the layers that the networks share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from bench.core.classifier import Site

#: (C, H, W) of one image, without the batch.
Shape = tuple[int, int, int]

#: The layers in order: the output channels of a convolution, or a function that makes a pool.
Plan = Sequence[int | Callable[[], nn.Module]]


@dataclass(frozen=True)
class Network:
    """The parts of a classifier, divided before the last hidden activation; `build` joins them.

    logits = head(activation(backbone(images))). The decision region of an image is read from the sign of
    Z = backbone(images); see `bench.core.classifier.Classifier`.

    Args:
        backbone: maps normalized images [B, C, H, W] to features Z [B, D].
        head: the final linear layer, from D features to K logits.
        activation: applied to Z before the head; must not work in place, since Z is read afterwards.
        site: "pre-activation", or "pooled" when Z is read after the last non-linearity.
    """

    backbone: nn.Module
    head: nn.Linear
    activation: nn.Module = field(default_factory=nn.ReLU)
    site: Site = "pre-activation"


def convolutions(
    input_shape: Shape, plan: Plan, *, kernel: int = 3, batch_norm: bool = False
) -> tuple[nn.Sequential, Shape]:
    """Convolutions that keep the image size, each followed by a ReLU, and pools that halve it.

    Args:
        input_shape: (C, H, W).
        plan: the layers in order. A pool maps a side of n pixels to ⌊n/2⌋; a pool whose output would be smaller
            than 1x1 is omitted.
        kernel: side of every filter in pixels, an odd number.
        batch_norm: insert a batch norm between each convolution and its ReLU.

    Returns:
        The layers, and the shape (C, H, W) of their output.
    """
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for part in plan:
        if callable(part):
            if min(height, width) >= 2:
                layers.append(part())
                height, width = height // 2, width // 2
            continue
        layers.append(_convolution((channels, height, width), part, kernel))
        if batch_norm:
            layers.append(nn.BatchNorm2d(part))
        layers.append(nn.ReLU())
        channels = part
    return nn.Sequential(*layers), (channels, height, width)


def hidden(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer to be followed by a ReLU, with He's initialization and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _convolution(input_shape: Shape, channels: int, kernel: int) -> nn.Conv2d:
    """A convolution with He's initialization, Var = 2 / fan-in (He et al., 2015, eq. 10), and zero bias.

    We depart from the usual fan-in, which also counts the filter taps on the zero padding. On a 1x1 map these are
    8 of 9: each layer would shrink the signal threefold, and VGG-16 on 8x8 images, with six such layers, does
    not train. Here the fan-in counts the taps on the image alone, averaged over the filter's positions.
    """
    inputs, height, width = input_shape
    layer = nn.Conv2d(inputs, channels, kernel, padding=kernel // 2)
    fan_in = inputs * _mean_taps(height, kernel) * _mean_taps(width, kernel)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_in))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _mean_taps(side: int, kernel: int) -> float:
    """The mean number of a filter's `kernel` taps that lie on an axis of `side` pixels, over all positions."""
    reach = kernel // 2
    return sum(max(0, side - abs(offset)) for offset in range(-reach, reach + 1)) / side
