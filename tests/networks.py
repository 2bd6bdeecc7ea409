"""Networks for tests that train again and again, by name: `tests.networks:normalized`."""

from math import prod

from torch import nn

from bench.models import Network, Shape, convolutions


def normalized(input_shape: Shape, num_classes: int) -> Network:
    """Two convolutions with batch norm, averaged over the image: site "pooled", like ResNet-18."""
    layers, _ = convolutions(input_shape, (8, lambda: nn.MaxPool2d(2), 16), batch_norm=True)
    backbone = nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return Network(backbone, nn.Linear(16, num_classes), activation=nn.Identity(), site="pooled")


def plug_in(input_shape: Shape, num_classes: int) -> nn.Module:
    """A network that is none of this package's: a linear layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(prod(input_shape), num_classes))
