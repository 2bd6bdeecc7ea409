import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import NotFinite
from bench.core.margins import decision_function
from bench.core.threat import Threat
from bench.geometry.jacobian import Jacobian, decision_jacobian

SHAPE = (2, 3, 4)


class Constant(nn.Module):
    """Logits that do not look at the image."""

    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images):
        return self.logits.expand(len(images), -1)


def linear(classes=2, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), classes))
    return WrappedClassifier(module, SHAPE, classes)


def curved(classes=4, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Classifier(
            nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), 9), nn.BatchNorm1d(9), nn.Dropout(0.5)),
            nn.Linear(9, classes),
            activation=nn.Tanh(),
            site="pre-activation",
            input_shape=SHAPE,
        )


def draws(count=7, classes=2, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(count, *SHAPE, generator=generator), torch.randint(
        classes, (count,), generator=generator
    )


def test_a_linear_network_of_two_classes_has_the_difference_of_its_weights_and_every_norm_in_closed_form():
    classifier = linear()
    images, labels = draws()
    found = decision_jacobian(classifier, images, labels)
    weight, bias = classifier.head.weight.detach(), classifier.head.bias.detach()
    expected = weight[labels] - weight[1 - labels]
    torch.testing.assert_close(found.gradient.flatten(1), expected)
    torch.testing.assert_close(
        found.margin, (images.flatten(1) * expected).sum(1) + bias[labels] - bias[1 - labels]
    )
    torch.testing.assert_close(found.l1, expected.abs().sum(1).double())
    torch.testing.assert_close(found.l2, expected.double().square().sum(1).sqrt())
    small = (expected.abs() < 0.05).double().mean(dim=1)
    assert 0 < small.mean() < 1
    torch.testing.assert_close(found.near_zero(0.05), small)


def test_entries_count_as_zero_below_the_threshold_and_not_at_it():
    gradient = torch.tensor([0.0, 9.9e-4, -9.9e-4, 1.1e-3]).view(1, 1, 2, 2)
    assert Jacobian(torch.ones(1), gradient).near_zero().tolist() == [0.75]
    assert Jacobian(torch.ones(1), torch.full((1, 1, 1, 4), 0.5)).near_zero(0.5).tolist() == [0]


def test_batch_mean_squared_l2_is_the_mean_over_the_batch_size_when_rows_agree():
    images, labels = draws()[0], torch.zeros(7, dtype=torch.int64)
    classifier = linear()
    points = images.clone().requires_grad_()
    (batch,) = torch.autograd.grad(decision_function(classifier(points), labels).mean(), points)
    found = decision_jacobian(classifier, images, labels)
    torch.testing.assert_close(batch.double().square().sum(), found.l2.square().mean() / len(images))


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_gradient_is_the_central_difference(seed):
    classifier = curved(seed=seed).double().eval()
    images, labels = draws(3, 4, seed)
    found = decision_jacobian(classifier, images.double(), labels)
    move = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    ends = [decision_function(classifier(images + sign * 1e-6 * move), labels) for sign in (1, -1)]
    expected = (found.gradient * move).flatten(1).sum(1)
    torch.testing.assert_close((ends[0] - ends[1]) / 2e-6, expected, rtol=1e-5, atol=1e-6)


def test_neither_the_batch_size_nor_the_neighbours_of_an_image_change_anything_but_rounding():
    classifier = curved()
    images, labels = draws(9, 4)
    whole = decision_jacobian(classifier, images, labels)
    for size in (1, 4):
        parts = decision_jacobian(classifier, images, labels, batch_size=size)
        torch.testing.assert_close(parts.gradient, whole.gradient)
    alone = decision_jacobian(classifier, images[4:5], labels[4:5])
    torch.testing.assert_close(alone.gradient, whole.gradient[4:5])


def test_the_network_and_the_random_state_are_left_as_they_were():
    classifier = curved().train()
    classifier.head.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    state = torch.random.get_rng_state()
    with torch.no_grad():
        decision_jacobian(classifier, *draws(4, 4))
    assert all(module.training for module in classifier.modules())
    assert not classifier.head.bias.requires_grad
    assert classifier.head.weight.requires_grad
    assert classifier.head.weight.grad is None
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_first_order_margin_divides_by_the_dual_norm():
    found = Jacobian(torch.tensor([2.0, -2.0]), torch.tensor([[3.0, -4.0], [3.0, -4.0]]).view(2, 1, 1, 2))
    assert found.first_order_margin(Threat("linf", "0.1")).tolist() == pytest.approx([2 / 0.7, -2 / 0.7])
    assert found.first_order_margin(Threat("l2", "0.1")).tolist() == pytest.approx([4, -4])


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_linear_network_the_worst_perturbation_crosses_exactly_below_a_margin_of_one(norm):
    classifier, threat = linear(), Threat(norm, "0.06")
    images, labels = draws(60)
    found = decision_jacobian(classifier, images, labels)
    gradient = found.gradient.flatten(1)
    step = gradient.sign() if norm == "linf" else gradient / gradient.norm(dim=1, keepdim=True)
    worst = decision_function(classifier(images - 0.06 * step.view_as(images)), labels)
    ratio = found.first_order_margin(threat)
    assert 0 < (ratio > 1).sum() < 60
    assert torch.equal(ratio > 1, worst > 0)


def test_a_constant_network_has_a_zero_jacobian_and_a_margin_of_its_sign():
    classifier = WrappedClassifier(Constant(0.0, 1.0), SHAPE, 2)
    images = draws(2)[0]
    found = decision_jacobian(classifier, images, torch.tensor([1, 0]))
    assert not found.gradient.any()
    assert found.near_zero().tolist() == [1, 1]
    assert found.first_order_margin(Threat("linf", "0.1")).tolist() == [math.inf, -math.inf]
    tied = decision_jacobian(WrappedClassifier(Constant(1.0, 1.0), SHAPE, 2), images, torch.tensor([1, 0]))
    assert tied.first_order_margin(Threat("linf", "0.1")).tolist() == [0, 0]


def test_a_network_that_gives_nan_is_refused():
    with pytest.raises(NotFinite):
        decision_jacobian(WrappedClassifier(Constant(math.nan, 1.0), SHAPE, 2), *draws(2))
