"""A network: one hidden layer."""

from torch import nn

from bench.models import Network, Shape, hidden


def two_layers(input_shape: Shape, num_classes: int) -> Network:
    """One hidden layer of 64 units; its values before the ReLU are the features."""
    channels, height, width = input_shape
    backbone = nn.Sequential(nn.Flatten(), hidden(channels * height * width, 64))
    return Network(backbone, nn.Linear(64, num_classes))
