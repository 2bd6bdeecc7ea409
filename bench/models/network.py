"""What a network file gives: its parts, cut before the last hidden activation. And the layers they share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from bench.core.classifier import Site

#: (C, H, W) of one image, without the batch.
Shape = tuple[int, int, int]

#: Layer by layer: the channels of a convolution, or a function that makes a pool.
Plan = Sequence[int | Callable[[], nn.Module]]


@dataclass(frozen=True)
class Network:
    """The parts of a classifier; see `bench.core.classifier.Classifier` for their meaning.

    Args:
        backbone: normalized images [B, C, H, W] to features Z [B, D].
        head: the final linear layer, D to classes.
        activation: what stands between Z and the head; never in place, since Z is read after it ran.
        site: "pre-activation", or "pooled" when Z is read after the last non-linearity.
    """

    backbone: nn.Module
    head: nn.Linear
    activation: nn.Module = field(default_factory=nn.ReLU)
    site: Site = "pre-activation"


def convolutions(
    input_shape: Shape, plan: Plan, *, kernel: int = 3, batch_norm: bool = False
) -> tuple[nn.Sequential, Shape]:
    """Convolutions that keep the image size, each with a ReLU, and pools that halve it.

    Args:
        input_shape: (C, H, W).
        plan: the layers in order. A pool maps a side of n pixels to ⌊n/2⌋; one that would leave less than
            1x1 is left out.
        kernel: odd side of every filter, in pixels.
        batch_norm: put a batch norm between each convolution and its ReLU.

    Returns:
        The layers, and the shape of what they give.
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
    """A fully connected layer for a ReLU behind it, with He's weights and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _convolution(input_shape: Shape, channels: int, kernel: int) -> nn.Conv2d:
    """He's weights, Var = 2 / fan-in (He et al., 2015, eq. 10), for the fan-in that meets the image.

    The usual fan-in counts filter taps that lie on the zero padding. On a 1x1 map those are 8 of 9: each
    layer would shrink the signal threefold, and VGG-16 on 8x8 images, with six such layers, never learns.
    """
    inputs, height, width = input_shape
    layer = nn.Conv2d(inputs, channels, kernel, padding=kernel // 2)
    fan_in = inputs * _mean_taps(height, kernel) * _mean_taps(width, kernel)
    nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_in))
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def _mean_taps(side: int, kernel: int) -> float:
    """How many of a filter's `kernel` taps meet an axis of `side` pixels, averaged over its positions."""
    reach = kernel // 2
    return sum(max(0, side - abs(offset)) for offset in range(-reach, reach + 1)) / side
