"""ResNet-18 (He et al., 2016), with a stem for small images or with torchvision's."""

import torchvision
from torch import nn

from bench.models.network import Network, Shape


def resnet18(input_shape: Shape, num_classes: int) -> Network:
    """ResNet-18 for small images: the first convolution is 3x3 with stride 1, and the first pool is omitted.

    Z is the average over the image of the last ReLU's output, so Z ≥ 0: site "pooled", D = 512.
    """
    return _resnet18(num_classes, nn.Conv2d(input_shape[0], 64, 3, padding=1, bias=False), nn.Identity())


def resnet18_imagenet(input_shape: Shape, num_classes: int) -> Network:
    """ResNet-18 with torchvision's 7x7 stem of stride 2 and its max pooling.

    On 32x32 images the last block sees a single pixel; the clean accuracy of 77 % in P1, table 2 suggests this
    stem. Every layer with a stride is padded, so no side shrinks below one pixel and no pool is omitted.
    """
    stem = nn.Conv2d(input_shape[0], 64, 7, stride=2, padding=3, bias=False)
    return _resnet18(num_classes, stem, nn.MaxPool2d(3, stride=2, padding=1))


def _resnet18(num_classes: int, stem: nn.Conv2d, pool: nn.Module) -> Network:
    network = torchvision.models.resnet18(weights=None, num_classes=num_classes)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    network.conv1, network.maxpool = stem, pool
    for layer in network.modules():
        if isinstance(layer, nn.ReLU):
            # An in-place ReLU would overwrite the pre-activations that metrics by layer read.
            layer.inplace = False
    head, network.fc = network.fc, nn.Identity()
    return Network(network, head, activation=nn.Identity(), site="pooled")
