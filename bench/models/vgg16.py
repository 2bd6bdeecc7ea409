"""VGG-16 in its CIFAR form (Simonyan and Zisserman, 2014, configuration D)."""

from functools import partial

from torch import nn

from bench.models.network import (
    Activation,
    Network,
    Plan,
    Shape,
    Width,
    convolutions,
    hidden,
    make_activation,
    scaled,
)


def vgg16(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """VGG-16 in CIFAR form: thirteen 3x3 convolutions and two hidden layers of 512.

    Each of the five blocks ends with 2x2 max pooling, which is omitted where the map is a single pixel wide (the
    last pool on 28x28 images, the last two on 8x8). No dropout, no batch norm. D = 512.
    """
    return _vgg16(input_shape, num_classes, False, activation, width)


def vgg16_bn(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """VGG-16 in CIFAR form with a batch norm after every convolution."""
    return _vgg16(input_shape, num_classes, True, activation, width)


def _vgg16(
    input_shape: Shape, num_classes: int, batch_norm: bool, activation: Activation, width: float
) -> Network:
    pool = partial(nn.MaxPool2d, 2)
    plan: Plan = [64, 64, pool, 128, 128, pool, *3 * [256], pool, *3 * [512], pool, *3 * [512], pool]
    layers, (channels, rows, columns) = convolutions(
        input_shape, plan, batch_norm=batch_norm, activation=activation, width=width
    )
    units = scaled(512, width)
    backbone = nn.Sequential(
        layers,
        nn.Flatten(),
        hidden(channels * rows * columns, units),
        make_activation(activation),
        hidden(units, units),
    )
    return Network(backbone, nn.Linear(units, num_classes), activation=make_activation(activation))
