"""Data, a network and settings small enough for a check to take a moment."""

import torch
from torch import nn

from bench.core.classifier import Classifier
from bench.core.randomness import make_generator, seeded
from bench.core.threat import Threat
from bench.data import Dataset, Split
from defenses.base import Defense

EPOCHS, BATCH = 4, 8
THREAT = Threat("linf", "0.1")
Shape = tuple[int, int, int]


def tiny_dataset(shape: Shape = (1, 8, 8), classes: int = 3, size: int = 24, seed: int = 0) -> Dataset:
    """Noisy copies of one random image a class, so that a few steps learn something.

    Args:
        shape: (C, H, W).
        classes: K.
        size: images in each of the three splits.
        seed: of the images.
    """
    generator = make_generator(seed, "toy")
    centres = torch.rand(classes, *shape, generator=generator)

    def split() -> Split:
        labels = torch.arange(size) % classes
        images = centres[labels] + 0.1 * torch.randn(size, *shape, generator=generator)
        return Split((images.clamp(0, 1) * 255).round().byte(), labels)

    names = tuple(f"class {number}" for number in range(classes))
    return Dataset("toy", names, split(), split(), split())


def tiny_classifier(shape: Shape = (1, 8, 8), classes: int = 3, seed: int = 0) -> Classifier:
    """A convolution with batch norm, and one hidden layer of 16."""
    channels, height, width = shape
    with seeded(seed, "tiny"):
        backbone = nn.Sequential(
            *(nn.Conv2d(channels, 4, 3, stride=2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten()),
            nn.Linear(4 * ((height + 1) // 2) * ((width + 1) // 2), 16),
        )
        head = nn.Linear(16, classes)
    return Classifier(backbone, head, activation=nn.ReLU(), site="pre-activation", input_shape=shape)


def quick(kind: type[Defense]) -> Defense:
    """A defense with its defaults, but for what a training of a few epochs on a few images has no room for.

    Hyper-parameters called `steps` become 2, `warmup` 1 epoch and `min_count` 0, in parts of compositions too.
    """
    short = {"steps": 2, "warmup": 1, "min_count": 0}
    names = kind.make({}).hyperparameters()
    return kind.make({name: short[last] for name in names if (last := name.rpartition(".")[2]) in short})
