"""A linear network with two classes, on which every loss has a closed form."""

import torch
from torch import Tensor, nn

from bench.core.classifier import Classifier
from bench.core.threat import Threat
from bench.data import Split
from defenses import Training

EPS = 0.1
WEIGHT = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.5, 1.0]])
#: Gradient of the margin Z_0 − Z_1 by the pixels.
SLOPE = WEIGHT[0] - WEIGHT[1]


def linear(weight: Tensor = WEIGHT) -> Classifier:
    """Z = W·x on 1x2x2 images."""
    classifier = Classifier(
        nn.Flatten(),
        nn.Linear(weight.shape[1], len(weight), bias=False),
        activation=nn.Identity(),
        site="pooled",
        input_shape=(1, 2, weight.shape[1] // 2),
    )
    with torch.no_grad():
        classifier.head.weight.copy_(weight)
    return classifier.train()


def batch(size: int = 6, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images [size, 1, 2, 2] away from the box's edge, so that the ball is whole, and labels 0."""
    images = 0.3 + 0.4 * torch.rand(size, 1, 2, 2, generator=torch.Generator().manual_seed(seed))
    return images, torch.zeros(size, dtype=torch.int64)


def margins(images: Tensor) -> Tensor:
    """Z_0 − Z_1 of `linear()`."""
    return images.flatten(1) @ SLOPE


def training(
    classifier: Classifier, *, epochs: int = 4, eps: float = EPS, smoothing: float = 0.0
) -> Training:
    """A training on a batch of the toy's images."""
    images, labels = batch(12)
    return Training(
        classifier,
        Split((images * 255).round().byte(), labels),
        Threat("linf", str(eps)),
        epochs,
        0,
        4,
        label_smoothing=smoothing,
    )
