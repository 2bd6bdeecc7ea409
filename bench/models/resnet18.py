"""ResNet-18 (He et al., 2016), with a stem for small images or with torchvision's."""

from typing import Any

from torch import nn
from torchvision.models import resnet

from bench.models.network import Activation, Network, Shape, Width, make_activation, scaled


def resnet18(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """ResNet-18 for small images: the first convolution is 3x3 with stride 1, and the first pool is omitted.

    Z is the average over the image of the last activation's output, with ReLU Z ≥ 0: site "pooled", D = 512.
    """
    stem = nn.Conv2d(input_shape[0], scaled(64, width), 3, padding=1, bias=False)
    return _resnet18(num_classes, stem, nn.Identity(), activation, width)


def resnet18_imagenet(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """ResNet-18 with torchvision's 7x7 stem of stride 2 and its max pooling.

    On 32x32 images the last block sees a single pixel; the clean accuracy of 77 % in P1, table 2 suggests this
    stem. Every layer with a stride is padded, so no side shrinks below one pixel and no pool is omitted.
    """
    stem = nn.Conv2d(input_shape[0], scaled(64, width), 7, stride=2, padding=3, bias=False)
    return _resnet18(num_classes, stem, nn.MaxPool2d(3, stride=2, padding=1), activation, width)


class ResNet(resnet.ResNet):
    """torchvision's ResNet-18 with its channels multiplied by a width; the stem is that of 64 channels."""

    def __init__(self, num_classes: int, width: float) -> None:
        self.width = width  # first, since the layers are made below
        super().__init__(resnet.BasicBlock, [2, 2, 2, 2], num_classes=num_classes)

    def _make_layer(self, block: Any, planes: int, *args: Any, **kwargs: Any) -> nn.Sequential:
        if planes == 64:
            self.inplanes = scaled(64, self.width)
        return super()._make_layer(block, scaled(planes, self.width), *args, **kwargs)


def _resnet18(
    num_classes: int, stem: nn.Conv2d, pool: nn.Module, activation: Activation, width: float
) -> Network:
    network = ResNet(num_classes, width)
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    network.conv1, network.maxpool = stem, pool
    if network.inplanes != network.fc.in_features:
        network.bn1 = nn.BatchNorm2d(stem.out_channels)
        network.fc = nn.Linear(network.inplanes, num_classes)
    for layer in network.modules():
        if isinstance(layer, ResNet | resnet.BasicBlock):
            # torchvision's works in place, which would overwrite the pre-activations that metrics by layer read.
            layer.relu = make_activation(activation)
    head, network.fc = network.fc, nn.Identity()
    return Network(network, head, activation=nn.Identity(), site="pooled")
