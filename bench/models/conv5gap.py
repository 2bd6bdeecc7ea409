"""The CIFAR-10 network of Yu et al. (decision-surface paper, section 8.3)."""

from functools import partial

from torch import nn

from bench.models.network import Activation, Network, Plan, Shape, Width, convolutions


def conv5gap(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """Yu et al.'s CIFAR-10 network: five 3x3 convolutions and global average pooling.

    The paper says "five convolutional layers and one global average pooling layer" and gives no widths. Ours are
    64, 64, pool, 128, 128, pool, 256, with 2x2 max pooling. Site "pooled", D = 256.
    """
    pool = partial(nn.MaxPool2d, 2)
    plan: Plan = [64, 64, pool, 128, 128, pool, 256]
    layers, (channels, _, _) = convolutions(input_shape, plan, activation=activation, width=width)
    backbone = nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(backbone, nn.Linear(channels, num_classes), activation=nn.Identity(), site="pooled")
