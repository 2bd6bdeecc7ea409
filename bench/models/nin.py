"""Network in network for CIFAR-10 (Lin, Chen and Yan, 2014), the second network of Fawzi et al."""

from functools import partial

from torch import nn

from bench.models.network import Activation, Network, Shape, Width, convolutions


def nin(
    input_shape: Shape, num_classes: int, *, activation: Activation = "relu", width: Width = 1.0
) -> Network:
    """Fawzi et al.'s network in network: three convolutions, each followed by 1x1 convolutions, and dropout 0.5.

    The original ends with a 1x1 convolution to the classes and an average over the image. Both are linear, so
    their order is reversed here: pooled features, then a linear head. The two pools (3x3, stride 2) reduce 8x8
    images, the smallest, to 2x2. Site "pooled", D = 192.
    """
    maximum = partial(nn.MaxPool2d, 3, stride=2, ceil_mode=True)
    average = partial(nn.AvgPool2d, 3, stride=2, ceil_mode=True)
    layers = partial(convolutions, activation=activation, width=width)
    conv1, shape = layers(input_shape, [192], kernel=5)
    mix1, shape = layers(shape, [160, 96, maximum], kernel=1)
    conv2, shape = layers(shape, [192], kernel=5)
    mix2, shape = layers(shape, [192, 192, average], kernel=1)
    conv3, shape = layers(shape, [192])
    mix3, (channels, _, _) = layers(shape, [192], kernel=1)
    backbone = nn.Sequential(
        *(conv1, mix1, nn.Dropout(0.5)),
        *(conv2, mix2, nn.Dropout(0.5)),
        *(conv3, mix3, nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    return Network(backbone, nn.Linear(channels, num_classes), activation=nn.Identity(), site="pooled")
