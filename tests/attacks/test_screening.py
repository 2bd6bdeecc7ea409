"""Screening breaks images by adversarial images alone, as many as AutoAttack, and no record has a score of it."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import bench.attacks.screening as screening
from bench.attacks.autoattack import autoattack
from bench.attacks.screening import screen
from bench.core.errors import UserError
from bench.core.passes import counting
from bench.core.threat import Threat
from metrics.accuracy.autoattack import AutoAttack
from tests.attacks.test_autoattack import SHAPE, Custom, data, small_cnn
from tests.shortened import shorten_autoattack

THREATS = (Threat("linf", "0.02"), Threat("l2", "0.1"))


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    torch.set_num_threads(1)
    monkeypatch.setattr(screening, "ALL", 20)
    monkeypatch.setattr(screening, "QUERIES", 20)
    monkeypatch.setattr(screening, "ALL_QUERIES", 150)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(0, 5),
    st.sampled_from((2, 3, 4, 10)),
    st.sampled_from(THREATS),
    st.integers(1, 20),
    st.integers(1, 20),
)
def test_what_is_broken_is_misclassified_in_the_ball(network, classes, threat, count, batch_size):
    classifier = small_cnn(network, classes)
    images, labels = data(classifier, count)
    result = screen(classifier, images, labels, threat, seed=network, batch_size=batch_size)
    with torch.no_grad():
        wrong = classifier(result.adversarial).argmax(dim=1) != labels
    assert torch.equal(wrong, result.broken)
    assert threat.allows(result.adversarial, images).all()
    assert torch.equal(result.adversarial[~result.broken], images[~result.broken])
    assert torch.equal(result.step > 0, result.broken)
    assert result.broken[0], "which is wrong without an attack"


@pytest.mark.parametrize("threat", THREATS, ids=str)
def test_it_breaks_what_autoattack_breaks(monkeypatch, threat):
    shorten_autoattack(monkeypatch, queries=150, steps=20)
    classifier = small_cnn()
    images, labels = data(classifier, 60)
    with counting(classifier) as passes:
        found = screen(classifier, images, labels, threat, seed=0)
    exact = autoattack(classifier, images, labels, threat, seed=0)
    assert 10 < int(exact.broken.sum()) < 50
    assert torch.equal(found.broken, exact.broken)
    assert (found.forwards, found.backwards) == (passes.forwards, passes.backwards)
    assert found.forwards + found.backwards < (exact.forwards + exact.backwards) / 2


def test_equal_seeds_give_equal_images_and_the_network_is_left_as_it_was():
    classifier = small_cnn().train()
    images, labels = data(classifier, 30)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    first, again = (screen(classifier, images, labels, THREATS[0], seed=4) for _ in range(2))
    assert torch.equal(first.adversarial, again.adversarial)
    assert classifier.training
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())


def test_square_goes_on_where_gradients_mislead():
    network = small_cnn()
    classifier = Custom(lambda x: network((8 * x).round().div(8).view(-1, *SHAPE)), classes=10)
    images, labels = data(classifier, 40)
    threat = Threat("linf", "0.1")
    result = screen(classifier, images, labels, threat, seed=0)
    steps = result.step.tolist()
    assert steps.count(5) > 5, "none of these has a gradient"
    left = steps.count(0)
    assert result.forwards > left * screening.ALL_QUERIES / 2


def test_with_a_ball_of_one_point_images_are_classified_alone():
    classifier = small_cnn()
    images, labels = data(classifier, 9)
    result = screen(classifier, images, labels, Threat("linf", "0"), seed=0)
    assert result.broken.tolist() == [True] + 8 * [False]
    assert (result.forwards, result.backwards) == (9, 0)


def test_points_are_attacked_in_halves_where_memory_runs_out():
    network = small_cnn()

    class Small(nn.Module):
        num_classes, input_shape = 10, SHAPE

        def forward(self, x):
            if x.requires_grad and len(x) > limit:
                raise RuntimeError(
                    "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
                )
            return network(x)

    images, labels = data(network, 12)
    limit = 12
    result = screen(Small(), images, labels, THREATS[0], seed=0, batch_size=30)
    limit = 1000
    assert torch.equal(result.broken, screen(Small(), images, labels, THREATS[0], seed=0).broken)


def test_unusable_images_are_refused():
    classifier = small_cnn()
    images, labels = data(classifier, 3)
    with pytest.raises(UserError):
        screen(classifier, images, labels[:2], THREATS[0], seed=0)
    with pytest.raises(UserError, match="batch"):
        screen(classifier, images, labels, THREATS[0], seed=0, batch_size=0)


def test_no_metric_takes_it():
    with pytest.raises(UserError, match="screening"):
        AutoAttack(passes="screening")  # type: ignore[arg-type]
