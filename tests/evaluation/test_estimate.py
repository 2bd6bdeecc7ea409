"""The estimated cost of a battery, compared with the passes it makes."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.autoattack import autoattack
from bench.core.classifier import WrappedClassifier
from bench.core.threat import Threat
from bench.data import Dataset, load
from bench.evaluation import estimate as module
from bench.evaluation.battery import Battery
from bench.evaluation.estimate import autoattack_cost, estimate
from metrics import Metric
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy


@pytest.mark.parametrize(
    ("version", "classes"),
    [
        pytest.param("standard", 10, marks=[pytest.mark.slow, pytest.mark.long]),
        pytest.param("standard", 3, marks=pytest.mark.slow),
        pytest.param("standard", 4, marks=pytest.mark.slow),
        pytest.param("plus", 2, marks=pytest.mark.slow),
        pytest.param("plus", 3, marks=[pytest.mark.slow, pytest.mark.long]),
        pytest.param("plus", 6, marks=[pytest.mark.slow, pytest.mark.long]),
        ("rand", 2),
        pytest.param("rand", 3, marks=pytest.mark.slow),
    ],
)
def test_a_run_that_breaks_nothing_costs_what_is_estimated(version: str, classes: int) -> None:
    torch.manual_seed(classes)
    linear = nn.Sequential(nn.Flatten(), nn.Linear(36, classes))
    classifier = WrappedClassifier(linear, (1, 6, 6), classes).eval()
    images = torch.rand(2, 1, 6, 6)
    labels = classifier(images).argmax(dim=1)
    result = autoattack(classifier, images, labels, Threat("linf", "1/100000"), seed=0, version=version)
    assert not result.broken.any()
    assert (result.forwards, result.backwards) == autoattack_cost(version, 2, 1.0, 1.0, classes)


def test_images_that_are_wrong_cost_one_pass() -> None:
    for version in ("standard", "plus", "rand"):
        assert autoattack_cost(version, 100, 0.0, 0.0, 10) == (100, 0)


def test_the_standard_version_follows_the_formula() -> None:
    assert autoattack_cost("standard", 1000, 0.9, 0.5, 10) == (1000 + 92700 + 3876500, 90900 + 904500)


@pytest.mark.parametrize(("noise", "version"), [(0.0, "plus"), (1.0, "rand")])
def test_each_battery_is_counted_with_the_version_that_will_run(
    monkeypatch: pytest.MonkeyPatch, noise: float, version: str
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "autoattack_cost", lambda version, *rest: asked.append(version) or (1, 1))
    data: Dataset = load("digits", train_size=100, test_size=30)

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(64, 10)

        def forward(self, images: Tensor) -> Tensor:
            logits: Tensor = self.linear(images.flatten(1))
            return logits + noise * torch.randn_like(logits)

    classifier = WrappedClassifier(Noisy(), data.shape, data.num_classes)
    estimate(20, classifier, data, Battery("one", 20, (AutoAttack("plus"),), ""))
    assert set(asked) == {version}


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ((CleanAccuracy(),), ""),
        ((RobustAccuracy("fgsm"),), "; its attacks take about 0 s"),
        (
            (AutoAttack("standard"),),
            r"; its attacks take about .* at 10% robust accuracy or .* at 50% robust accuracy",
        ),
    ],
)
def test_the_estimate_says_what_it_counts(
    metrics: tuple[Metric, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time_passes", lambda *arguments: (1e-3, 1e-3, False))
    data = load("digits", test_size=20)
    network = WrappedClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), data.shape, data.num_classes)
    sentence = estimate(20, network, data, Battery("one", 20, metrics, ""))
    assert re.fullmatch(f"battery one on 20 test images{said}", sentence)
