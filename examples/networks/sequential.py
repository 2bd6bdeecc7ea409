"""Any module from images in [0, 1] to logits. From this folder: `--model sequential:make_network`."""

from torch import nn


def make_network(input_shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """A small convolutional network that normalizes for itself; its last layer is linear."""
    channels, _, _ = input_shape
    return nn.Sequential(
        nn.BatchNorm2d(channels, affine=False),
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, num_classes),
    )
