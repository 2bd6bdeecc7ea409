"""The parts that a network's file returns, and the layers that the networks share."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from bench.core.classifier import Site

#: (C, H, W) of one image, without the batch.
Shape = tuple[int, int, int]

#: The layers in order: the output channels of a convolution, or a function that makes a pool.
Plan = Sequence[int | Callable[[], nn.Module]]

#: The non-linearity of a network. SiLU and GELU are smooth, and positive where their input is, as ReLU is.
Activation = Literal["relu", "silu", "gelu"]

#: The factor that multiplies a network's channels and hidden units.
Width = Annotated[float, Field(gt=0, le=16)]

_ACTIVATIONS: dict[Activation, Callable[[], nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU}


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
    input_shape: Shape,
    plan: Plan,
    *,
    kernel: int = 3,
    batch_norm: bool = False,
    activation: Activation = "relu",
    width: float = 1.0,
) -> tuple[nn.Sequential, Shape]:
    """Convolutions that keep the image size, each followed by an activation, and pools that halve it.

    Args:
        input_shape: (C, H, W).
        plan: the layers in order. A pool maps a side of n pixels to ⌊n/2⌋; a pool whose output would be smaller
            than 1x1 is omitted.
        kernel: side of every filter in pixels, an odd number.
        batch_norm: insert a batch norm between each convolution and its activation.
        activation: "relu", "silu" or "gelu".
        width: multiplies the output channels of the plan.

    Returns:
        The layers, and the shape (C, H, W) of their output.
    """
    channels, rows, columns = input_shape
    layers: list[nn.Module] = []
    for part in plan:
        if callable(part):
            if min(rows, columns) >= 2:
                layers.append(part())
                rows, columns = rows // 2, columns // 2
            continue
        outputs = scaled(part, width)
        layers.append(_convolution((channels, rows, columns), outputs, kernel))
        if batch_norm:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(make_activation(activation))
        channels = outputs
    return nn.Sequential(*layers), (channels, rows, columns)


def make_activation(name: Activation) -> nn.Module:
    """The layer of an activation; it does not work in place."""
    return _ACTIVATIONS[name]()


def scaled(units: int, width: float) -> int:
    """Channels or hidden units times a width: the nearest whole number, at least 1."""
    return max(1, round(units * width))


def hidden(inputs: int, outputs: int) -> nn.Linear:
    """A fully connected layer to be followed by an activation, with He's initialization and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer


def _convolution(input_shape: Shape, channels: int, kernel: int) -> nn.Conv2d:
    """A convolution with He's initialization, Var = 2 / fan-in (He et al., 2015, eq. 10), and zero bias.

    It is derived for ReLU, and the other activations get the same, so that variants start from equal weights.

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
