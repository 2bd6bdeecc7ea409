"""The four-layer MNIST network of Yu et al. (decision-surface paper, section 8.3)."""

from functools import partial

from torch import nn

from bench.models.network import (
    Activation,
    Network,
    Shape,
    Width,
    convolutions,
    hidden,
    make_activation,
    scaled,
)


def mnist4(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """Yu et al.'s MNIST network: 5x5 convolutions of 32 and 64 channels and a hidden layer of 1024.

    The paper says "two convolutional layers and two fully connected layers". The widths, and the 2x2 max pooling
    after each convolution, are those of the MNIST network of Madry et al. (2018), which has the same four
    layers. D = 1024.
    """
    pool = partial(nn.MaxPool2d, 2)
    layers, (channels, rows, columns) = convolutions(
        input_shape, [32, pool, 64, pool], kernel=5, activation=activation, width=width
    )
    units = scaled(1024, width)
    backbone = nn.Sequential(layers, nn.Flatten(), hidden(channels * rows * columns, units))
    return Network(backbone, nn.Linear(units, num_classes), activation=make_activation(activation))
