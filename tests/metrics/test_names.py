"""Every metric says beforehand which scores it writes."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import nn

import bench
from bench.core.errors import UserError
from bench.core.record import Score
from bench.core.threat import Threat
from bench.data import load
from bench.evaluation.battery import BATTERIES, Battery
from bench.models import build
from metrics import METRICS, as_metric, get
from metrics.accuracy.autoattack import AutoAttack
from metrics.base import Metric
from metrics.evaluation import Evaluation

#: Settings small enough for a test, for metrics that would take long.
SMALL = {
    "curvature_profile": "(images=2, full_up_to=0, spectrum_up_to=0, extremes=2, directions=4)",
    "decision_surface": "(images=1, half=3, line_images=4, parameter_half=1, parameter_images=4)",
    "detection_auc": "(images=12, directions=4)",
    "detection_auc/attacker_aware": "(images=12, directions=4, steps=2, surrogate_directions=2)",
    "features": "(images=20)",
    "input_hessian": "(images=2)",
    "local_complexity": "(images=4, directions=2)",
    "margin_consistency": "(images=4, steps=2)",
    "paths": "(pairs=2)",
    "probabilistic_robustness": "(samples=2)",
    "convexity": "(trials=5, largest=4)",
    "region_plane": "(planes=2, resolution=8)",
    "shared_directions": "(train_images=3, test_images=4, curved_images=2, per_image=2, count=3, directions=4)",
}
#: Metrics that take a second or more even then.
LONG = {
    "attack_curves",
    "major_groups",
    "paths",
    "robust_accuracy/adaptive",
    "robust_accuracy/cw100x5",
    "robust_accuracy/pgd100",
    "security_curve",
}
#: Scores of single layers follow the network.
BY_LAYER = ("prs_by_layer", "sparsity")


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    """A small untrained network that is right on every image, as its own labels are those of the data."""
    digits = load("digits", train_size=60, test_size=40)
    network = build("cnn6(width=0.25)", input_shape=digits.shape, num_classes=10, seed=0).eval()
    images, _ = digits.test.batch(slice(0, 4))
    with torch.no_grad():
        labels = network(images).argmax(dim=1)
    return Evaluation(
        classifier=network,
        dataset=digits,
        threat=Threat.parse("0.1"),
        images=images,
        labels=labels,
        test_index=torch.arange(4),
        history=[{"epoch": epoch, "seconds": 1.0, "standard_seconds": 0.5} for epoch in (1, 2)],
    )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
        for name in sorted({*METRICS.names()} - {AutoAttack.name, "robust_accuracy/worst_case"})
    ],
)
def test_a_metric_writes_the_scores_it_names(name: str, evaluation: Evaluation) -> None:
    metric = get(f"{name}{SMALL.get(name, '')}")
    written = tuple(metric.reduce(metric.measure(evaluation)))
    if name in BY_LAYER:
        assert metric.names() == (metric.name,)
        assert written[0] == metric.name
        assert all(score.startswith(f"{metric.name}/") for score in written[1:])
    else:
        assert set(written) == set(metric.names())
        assert len(set(metric.names())) == len(metric.names())
        assert metric.names()[:1] == ((metric.name,) if written else ())


@pytest.mark.parametrize("battery", sorted(BATTERIES))
def test_no_two_metrics_of_a_battery_write_the_same_score(battery: str) -> None:
    names = [name for metric in BATTERIES[battery]().metrics for name in metric.names()]
    assert len(set(names)) == len(names)


class Constant(nn.Module):
    """Class 9 everywhere; its last operation is no linear layer."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.arange(10.0).expand(len(images), 10) + 0 * images.flatten(1)[:, :1]


@pytest.mark.parametrize("name", ["detection_auc", "curvature_profile", "region_health", "time_per_epoch"])
def test_what_cannot_be_measured_is_in_the_record_with_every_score_and_the_reason(name: str) -> None:
    metric: Metric = get(name)
    digits = load("digits", train_size=20, test_size=12)
    record = bench.evaluate(Constant(), digits, "linf:0.1", Battery("small", 12, (metric,), ""))
    assert set(record.metrics) == set(metric.names())
    assert len(record.metrics) > 1
    (reason,) = {score.reason for score in record.metrics.values()}
    assert reason
    assert all(score.value is None for score in record.metrics.values())
    assert record.metrics[metric.name].unit == metric.unit


class Misnamed(Metric):
    name = "own\x1b[31m"

    def measure(self, evaluation: Evaluation) -> dict[str, np.ndarray]:
        return {}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        return {}


def test_a_name_that_no_record_can_hold_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(UserError, match=r"metric Misnamed, the name of it.*printable characters alone"):
        as_metric(Misnamed)
