"""Networks, images and small metrics for the tests of surfaces."""

import numpy as np
import torch
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.threat import Threat
from bench.data import Dataset, Split
from metrics.evaluation import Evaluation
from metrics.regions.region_plane import RegionPlane
from metrics.surface.decision_function import DecisionFunction
from metrics.surface.decision_surface import DecisionSurface
from metrics.surface.input_hessian import InputHessian
from metrics.surface.input_jacobian import InputJacobian
from tests.metrics.toys import split
from tests.records import make_record

SMALL = {
    "decision_function": DecisionFunction(images=6),
    "input_jacobian": InputJacobian(images=6, shown=3),
    "input_hessian": InputHessian(images=3),
    "decision_surface": DecisionSurface(
        images=2, half=3, line_images=5, parameter_images=4, parameter_half=2
    ),
    "region_plane": RegionPlane(planes=2, resolution=9),
}

HESSIANS = ("ce_exact", "finite_difference", "softplus")

#: Logits are (0, z_0): L = ±z_0, right but for the last. Seen from the image, the boundary is |z_0| away.
POINTS, LABELS = [[0.4, 0], [-0.3, 0.1], [0.05, 0.2], [0.2, 0]], [1, 0, 1, 0]

TEST = split(POINTS, LABELS)

FIRST = ((np.array(POINTS)[:, 0] + 0.5) * 255).round() / 255 - 0.5

MARGINS = np.where(np.array(LABELS) == 1, FIRST, -FIRST)


class Constant(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(2, classes)
        nn.init.zeros_(self.head.weight)
        with torch.no_grad():
            self.head.bias.copy_(torch.arange(classes).flip(0))

    def forward(self, images):
        return self.head(images.flatten(1)[:, :2] * 0)


class Sums(nn.Module):
    """A network whose logits come from no linear layer, with nothing to train."""

    def forward(self, images):
        return torch.stack([images.flatten(1).sum(dim=1), images.square().flatten(1).sum(dim=1)], dim=1)


def data(shape=(1, 4, 5), classes=3, count=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
    return Split(images, torch.randint(classes, (count,), generator=generator))


def network(shape, classes, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(shape[0], 3, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(3 * shape[1] * shape[2], 8),
            nn.ReLU(),
            nn.Linear(8, classes),
        )


def wrapped(module, test, classes, *, eps="linf:0.1", batch_size=5, right=False):
    shape = tuple(test.images.shape[1:])
    classifier = WrappedClassifier(module, shape, classes).eval()
    if right:
        with torch.no_grad():
            test = Split(test.images, classifier(test.batch(slice(None))[0]).argmax(dim=1))
    images, labels = test.batch(slice(None))
    names = tuple(f"class {number}" for number in range(classes))
    return Evaluation(
        classifier=classifier,
        dataset=Dataset("toy", names, test, test, test),
        threat=Threat.parse(eps),
        images=images,
        labels=labels,
        test_index=torch.arange(len(labels)),
        batch_size=batch_size,
    )


def record(evaluation):
    threat = {"norm": evaluation.threat.norm, "eps": evaluation.threat.eps}
    return make_record(dataset={"classes": list(evaluation.dataset.classes)}, threat=threat)


def run(metric, evaluation):
    arrays = metric.measure(evaluation)
    return arrays, metric.reduce(arrays), metric.charts(arrays, record(evaluation))


def assert_whole(scores, name):
    """Every score has a value within its interval, or a reason."""
    assert name in scores
    for score in scores.values():
        assert score.n is not None
        if score.value is not None and score.low is not None and score.high is not None:
            assert score.low - 1e-9 <= score.value <= score.high + 1e-9
