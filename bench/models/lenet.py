"""The CIFAR-10 LeNet of Fawzi et al. (classification-regions paper, section IV)."""

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


def lenet(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """Fawzi et al.'s CIFAR-10 LeNet: 5x5 convolutions of 32, 32 and 64 channels and a hidden layer of 64.

    The paper does not list the layers. These are those of MatConvNet's CIFAR-10 LeNet, which is Caffe's
    "CIFAR10-quick" (Jia et al., 2014) with a ReLU on the hidden layer. Each convolution is followed by 3x3
    pooling of stride 2: max pooling first, average pooling after the other two. On 8x8 images, the smallest, the
    last pool leaves 1x1. D = 64.
    """
    # `ceil_mode` as in Caffe, so that 32 → 16 → 8 → 4.
    maximum = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
    average = partial(nn.AvgPool2d, 3, stride=2, ceil_mode=True)
    plan: Plan = [32, maximum, 32, average, 64, average]
    layers, (channels, rows, columns) = convolutions(
        input_shape, plan, kernel=5, activation=activation, width=width
    )
    units = scaled(64, width)
    backbone = nn.Sequential(layers, nn.Flatten(), hidden(channels * rows * columns, units))
    return Network(backbone, nn.Linear(units, num_classes), activation=make_activation(activation))
