"""Robust accuracy as the battery measures it: routes, notes, and agreement with clean accuracy."""

import pyautoattack.autoattack as package
import pytest
import torch
from torch import nn

from bench.attacks.probabilities import NOTE, ProbabilitiesWarning
from bench.core.classifier import WrappedClassifier
from bench.core.threat import Threat
from bench.data import load
from bench.models import build
from metrics.accuracy.autoattack import AutoAttack
from metrics.accuracy.clean_accuracy import CleanAccuracy
from metrics.accuracy.robust_accuracy import RobustAccuracy
from metrics.accuracy.security_curve import SecurityCurve
from metrics.evaluation import Evaluation

set_version = package.AutoAttack._set_version


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def shorter(monkeypatch):
    def shorten(suite, version="standard"):
        set_version(suite, version)
        suite.square.n_queries, suite.apgd.eot_iter = 20, 1
        for attack in (suite.apgd, suite.apgd_targeted, suite.fab):
            attack.n_iter = 4

    monkeypatch.setattr(package.AutoAttack, "_set_version", shorten)


class Behind(nn.Module):
    """A network with something behind it."""

    def __init__(self, change):
        super().__init__()
        data = load("digits", train_size=50, test_size=20)
        self.network = build("cnn6(width=0.25)", input_shape=data.shape, num_classes=10, seed=0)
        self.change = change

    def forward(self, images):
        return self.change(self.network(images))


def evaluation(change=lambda logits: logits, eps="1/1000"):
    data = load("digits", train_size=50, test_size=20)
    classifier = WrappedClassifier(Behind(change).eval(), data.shape, 10)
    images, labels = data.test.batch(slice(0, 12))
    return Evaluation(classifier, data, Threat("linf", eps), images, labels, torch.arange(12), batch_size=7)


def noisy(logits):
    return logits + 0.1 * torch.randn_like(logits)


@pytest.mark.parametrize("clean_first", [True, False])
def test_a_network_whose_output_changes_is_attacked_by_rand_and_the_score_says_so(shorter, clean_first):
    given = evaluation(noisy)
    if clean_first:
        given.measured["clean_accuracy"] = CleanAccuracy().measure(given)
    metric = AutoAttack(batch_size=5)
    arrays = metric.measure(given)
    assert arrays["version"] == "rand"
    assert set(arrays["stage"]) <= {"clean", "apgd-ce", "apgd-dlr", "survived"}
    assert "version rand instead of standard" in metric.reduce(arrays)[metric.name].reason


def test_a_fixed_network_gets_the_version_asked_for(shorter):
    metric = AutoAttack(batch_size=5)
    arrays = metric.measure(evaluation())
    assert (arrays["version"], arrays["passes"]) == ("standard", "fast")
    assert not arrays["unconfirmed"].any()
    assert "rand" not in metric.reduce(arrays)[metric.name].reason


def test_settings_name_the_passes_only_where_they_can_change_which_images_break():
    assert AutoAttack().settings() == {"version": "standard", "seed": 0, "batch_size": 250}
    assert AutoAttack(passes="exact").settings() == AutoAttack().settings()
    assert AutoAttack(passes="bfloat16").settings()["passes"] == "bfloat16"


def test_probabilities_are_told_in_the_reason():
    given = evaluation(lambda logits: logits.softmax(dim=1))
    metric = RobustAccuracy("fgsm")
    with pytest.warns(ProbabilitiesWarning):
        arrays = metric.measure(given)
    assert metric.reduce(arrays)[metric.name].reason == NOTE
    plain = evaluation()
    assert (metric.measure(plain)["right"] == arrays["right"]).all()


@pytest.mark.parametrize("change", [lambda logits: logits, noisy], ids=["fixed", "noisy"])
def test_eps_zero_is_clean_accuracy_in_every_metric(shorter, change):
    given = evaluation(change, eps="0")
    for metric in (RobustAccuracy("fgsm"), RobustAccuracy("cw100x5"), AutoAttack(batch_size=5)):
        forwards = given.forwards
        arrays = metric.measure(given)
        looks = 2 if isinstance(metric, AutoAttack) else 1  # two more passes tell whether the output changes
        assert given.forwards - forwards <= 12 + (looks - 1) * 10
        if change is not noisy:
            clean = given.classifier(given.images).argmax(dim=1) == given.labels
            assert (torch.from_numpy(arrays["right"]) == clean).all()
    assert SecurityCurve(factors=("1",), images=5).measure(evaluation())["eps"][0] == 0


def test_adaptive_is_at_least_as_strong_as_cross_entropy_here():
    given = evaluation(lambda logits: 1e6 * logits, eps="0.1")
    adaptive, plain = RobustAccuracy("adaptive").measure(given), RobustAccuracy("pgd20").measure(given)
    assert adaptive["right"].sum() <= plain["right"].sum()
