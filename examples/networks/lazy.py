"""Lazy layers take their shapes from the data. From this folder: `--model lazy:make_network`."""

from torch import nn


def make_network(num_classes: int) -> nn.Module:
    """A network that is told the number of classes alone."""
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.LazyLinear(num_classes))
