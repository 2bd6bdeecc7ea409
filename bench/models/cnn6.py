"""CNN-6: six convolutions and two hidden fully connected layers (P1, section 3.1)."""

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


def cnn6(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """Six 3x3 convolutions and two fully connected layers of 512 and 128, without batch norm (P1).

    Convolutions: 32, 64, pool, 128, 128, pool, 64, pool, 64, with 2x2 max pooling. On 3x32x32 images the
    flattened map has 64·4·4 = 1024 values; on 8x8 images, the smallest, the third pool leaves 1x1. D = 128. The
    paper does not give the initialization; ours is that of He et al. (2015).
    """
    pool = partial(nn.MaxPool2d, 2)
    plan: Plan = [32, 64, pool, 128, 128, pool, 64, pool, 64]
    layers, (channels, rows, columns) = convolutions(input_shape, plan, activation=activation, width=width)
    first, last = scaled(512, width), scaled(128, width)
    backbone = nn.Sequential(
        layers,
        nn.Flatten(),
        hidden(channels * rows * columns, first),
        make_activation(activation),
        hidden(first, last),
    )
    return Network(backbone, nn.Linear(last, num_classes), activation=make_activation(activation))
