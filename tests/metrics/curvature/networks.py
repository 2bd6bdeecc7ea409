"""Networks with known boundaries, for the tests of curvature."""

import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.threat import Threat
from bench.data import Dataset, Split
from metrics.evaluation import Evaluation

SHAPE = (1, 3, 4)


class Ball(nn.Module):
    """Class 1 inside a ball around the centre of the pixel box, class 0 outside."""

    def __init__(self, radius=0.4):
        super().__init__()
        self.radius, self.seen = radius, 0

    def forward(self, images):
        self.seen += len(images)
        inside = self.radius**2 - (images.flatten(1) - 0.5).square().sum(dim=1)
        return torch.stack([torch.zeros_like(inside), inside], dim=1)


class Ridge(nn.Module):
    """A boundary x₀ = ½ that bends along x₁ and x₂ alone."""

    def forward(self, images):
        flat = images.flatten(1) - 0.5
        value = flat[:, 0] + flat[:, 1].square() - 0.7 * flat[:, 2].square()
        return torch.stack([torch.zeros_like(value), value], dim=1)


class Saddle(nn.Module):
    """A boundary that bends differently along every axis but x₀."""

    def forward(self, images):
        flat = images.flatten(1) - 0.5
        value = flat[:, 0] + (torch.linspace(-1, 1, 11) * flat[:, 1:].square()).sum(dim=1)
        return torch.stack([torch.zeros_like(value), value], dim=1)


class Half(nn.Module):
    """Three classes divided by parallel planes."""

    def forward(self, images):
        value = images.flatten(1).sum(dim=1) - 6
        return torch.stack([-value, torch.full_like(value, 0.5), value], dim=1)


class Constant(nn.Module):
    def forward(self, images):
        return torch.tensor([0.0, 1.0]).expand(len(images), 2)


def evaluate(module, count=40, classes=2, labels=None, spread=0.25):
    draws = torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(0))
    lengths = torch.linspace(0.1, 0.7, count).view(-1, 1, 1, 1)
    images = (0.5 + spread / 0.25 * lengths * draws / draws.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).clamp(
        0, 1
    )
    classifier = WrappedClassifier(module, SHAPE, classes).eval()
    if labels is None:
        with torch.no_grad():
            labels = classifier(images).argmax(dim=1)
    pixels = (images * 255).round().to(torch.uint8)
    split = Split(pixels, labels)
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", ("a", "b", "c")[:classes], split, split, split),
        threat=Threat.parse("0.1"),
        images=images,
        labels=labels,
        test_index=torch.arange(count) + 100,
        batch_size=30,
    )


def scores_of(metric, evaluation):
    return metric.reduce(metric.measure(evaluation))
