"""Images in the quadrants of a plane, for the tests of populated regions."""

import torch
from torch import nn

from bench.core.classifier import Classifier
from bench.core.threat import Threat
from bench.data import Dataset, Split
from metrics.evaluation import Evaluation
from metrics.regions.inclusion_ratio import InclusionRatio
from metrics.regions.prs_ratio import PRSRatio
from metrics.regions.region_health import RegionHealth

METRICS = (PRSRatio(), InclusionRatio(), RegionHealth())


def split(points, labels):
    """Images 1x1xD whose pixels are 0 or 1: the signs of the features once 1/2 is taken off."""
    bright = torch.as_tensor(points) > 0
    return Split((bright * 255).to(torch.uint8)[:, None, None, :], torch.as_tensor(labels))


def evaluate(train, test, classifier=None, batch_size=2):
    """Metrics of the identity network with logits (0, z_0)."""
    width = train.images.shape[-1]
    if classifier is None:
        head = nn.Linear(width, 2)
        with torch.no_grad():
            head.weight.zero_()[1, 0] = 1
            head.bias.zero_()
        classifier = Classifier(
            nn.Flatten(),
            head,
            activation=nn.Identity(),
            site="pre-activation",
            input_shape=(1, 1, width),
            mean=[0.5],
        ).eval()
    images, labels = test.batch(slice(0, 1))
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", ("a", "b"), train, train, test),
        threat=Threat.parse("0.1"),
        images=images,
        labels=labels,
        test_index=torch.zeros(1, dtype=torch.long),
        batch_size=batch_size,
    )


def scores(metric, evaluation):
    return metric.reduce(metric.measure(evaluation))


QUADRANTS = split([[1, 1], [1, 1], [-1, 1], [-1, -1]], [1, 1, 0, 0])

EMPTY = Split(QUADRANTS.images[:0], QUADRANTS.labels[:0])
