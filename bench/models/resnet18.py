"""ResNet-18 with a stem for small images or torchvision's own (He et al., 2016)."""

import torchvision
from torch import nn

from bench.models.network import Network, Shape


def resnet18(input_shape: Shape, num_classes: int) -> Network:
    """ResNet-18 behind a 3x3 convolution of stride 1, without the first pool, for small images.

    Z is the average over the image of the last ReLU's output, so it is never negative: site "pooled",
    D = 512.
    """
    return _resnet18(num_classes, nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False), nn.Identity())


def resnet18_imagenet(input_shape: Shape, num_classes: int) -> Network:
    """ResNet-18 with torchvision's 7x7 stem of stride 2 and its pool.

    On 32x32 the last block works on a single pixel; the 77 % of P1, table 2 point to this stem. Every
    stride is padded, so no side falls below one pixel and no pool is left out.
    """
    stem = nn.Conv2d(input_shape[0], 64, 7, stride=2, padding=3, bias=False)
    return _resnet18(num_classes, stem, nn.MaxPool2d(3, stride=2, padding=1))


def _resnet18(num_classes: int, stem: nn.Conv2d, pool: nn.Module) -> Network:
    network = torchvision.models.resnet18(weights=None, num_classes=num_classes)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    network.conv1, network.maxpool = stem, pool
    for layer in network.modules():
        if isinstance(layer, nn.ReLU):
            # In place, it would overwrite the pre-activations that layer-wise metrics observe.
            layer.inplace = False
    head, network.fc = network.fc, nn.Identity()
    return Network(network, head, activation=nn.Identity(), site="pooled")
