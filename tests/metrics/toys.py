"""Networks and images small enough to know every answer by hand."""

import torch
from torch import nn

from bench.core.classifier import Classifier
from bench.core.threat import Threat
from bench.data import Dataset, Split
from metrics.evaluation import Evaluation


def split(points, labels):
    """Images 1x1xD whose pixels are 1/2 + the points, in steps of 1/255."""
    pixels = (torch.as_tensor(points, dtype=torch.float64) + 0.5) * 255
    return Split(pixels.round().to(torch.uint8)[:, None, None, :], torch.as_tensor(labels, dtype=torch.long))


def empty(width):
    return Split(torch.zeros(0, 1, 1, width, dtype=torch.uint8), torch.zeros(0, dtype=torch.long))


def identity(width, weight=None):
    """Z is the image minus 1/2; logits (0, z_0), or `weight` times Z."""
    head = nn.Linear(width, 2 if weight is None else len(weight))
    with torch.no_grad():
        head.bias.zero_()
        if weight is None:
            head.weight.zero_()[1, 0] = 1
        else:
            head.weight.copy_(torch.as_tensor(weight))
    return Classifier(
        nn.Flatten(),
        head,
        activation=nn.Identity(),
        site="pre-activation",
        input_shape=(1, 1, width),
        mean=[0.5],
    ).eval()


def evaluate(train, test, classifier=None, *, eps="0.1", batch_size=4):
    """All test images are attacked."""
    width = test.images.shape[-1]
    classifier = classifier or identity(width)
    images, labels = test.batch(slice(None))
    names = tuple(f"class {number}" for number in range(classifier.num_classes))
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", names, train, train, test),
        threat=Threat.parse(eps),
        images=images,
        labels=labels,
        test_index=torch.arange(len(labels)),
        batch_size=batch_size,
    )


class Counting(nn.Module):
    """Counts the images that go through the network behind it."""

    def __init__(self, module):
        super().__init__()
        self.module, self.seen = module, 0

    def forward(self, images):
        self.seen += len(images)
        return self.module(images)
