"""Interval bounds hold every value that the network takes in the box."""

import operator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bench.core.classifier import WrappedClassifier
from bench.core.randomness import seeded
from bench.geometry.interval_operations import NotBounded
from bench.geometry.intervals import interval_bounds
from bench.models import build

SHAPE = (2, 8, 8)
#: Their bounds widen about tenfold in each of many layers, so that they say nothing for untrained networks.
DEEP = ("resnet18", "vgg16-bn")


class Shortcut(nn.Module):
    """Sums, differences, products with constants, pools and reshapes, as functions and as methods."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.second = nn.Conv2d(3, 3, 3, padding=1, stride=1)
        self.head = nn.Linear(3 * 4 * 4, 3)
        with torch.no_grad():
            assert self.norm.running_mean is not None
            assert self.norm.running_var is not None
            self.norm.running_mean.uniform_(-1, 1)
            self.norm.running_var.uniform_(0.5, 2)
            self.norm.weight.uniform_(-2, 2)

    def forward(self, images):
        start = F.silu(self.norm(self.first((images - 0.5) / 0.25)))
        mixed = 1 - start * -0.5 + F.gelu(self.second(start)) - torch.tanh(start)
        mixed = F.max_pool2d(mixed.relu(), 2) + F.avg_pool2d(mixed, 2)
        return self.head(mixed.view(mixed.size(0), -1))


def bounded(classifier, images, eps, labels=None):
    labels = torch.zeros(len(images), dtype=torch.int64) if labels is None else labels
    low, high = (images - eps).clamp(0, 1), (images + eps).clamp(0, 1)
    return low, high, interval_bounds(classifier.eval(), low, high, labels, batch_size=2)


def sampled(low, high, generator):
    """Points of the box: uniform ones, corners and its middle."""
    share = torch.rand((20, *low.shape), generator=generator)
    share[5:15] = (share[5:15] > 0.5).float()
    share[15:] = 0.5
    return low + share * (high - low)


@pytest.mark.parametrize(
    "network",
    [
        "shortcut",
        "cnn6",
        "lenet",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("nin", *DEEP)),
    ],
)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), eps=st.sampled_from([0.0, 1e-3, 0.05, 0.4]))
def test_bounds_hold_the_outputs_and_margins_of_sampled_points(network, seed, eps):
    generator = torch.Generator().manual_seed(seed)
    if network == "shortcut":
        with seeded(seed, "weights"):
            classifier = WrappedClassifier(Shortcut().eval(), SHAPE, 3)
    else:
        classifier = build(network, input_shape=SHAPE, num_classes=3, seed=seed)
    classifier = classifier.eval().double()
    images = torch.rand((2, *SHAPE), generator=generator).double()
    labels = torch.randint(3, (2,), generator=generator)
    low, high, found = bounded(classifier, images, eps, labels)
    points = sampled(low, high, generator)
    with torch.no_grad():
        logits = classifier(points.flatten(0, 1)).view(20, 2, 3)
    slack = 1e-9 * (1 + logits.abs().amax())
    assert (logits >= found.logits.lower - slack).all()
    assert (logits <= found.logits.upper + slack).all()
    margin = logits.gather(2, labels.expand(20, 2)[..., None]) - logits
    own = torch.arange(3) == labels[:, None]
    assert ((margin >= found.margin - slack) | own).all()
    wrong = logits.argmax(dim=2) != labels
    assert not (wrong.any(dim=0) & found.certified).any()
    if eps == 0.0 and network not in DEEP:  # there the allowance for rounding alone grows beyond any use
        assert (found.logits.upper - found.logits.lower < 1e-2).all()


def test_the_margin_is_exact_for_a_linear_network_where_logits_alone_would_be_loose():
    """Z_0 = x, Z_1 = x − 0.1: the margin is 0.1 everywhere, though both logits move by ε."""
    head = nn.Linear(1, 2)
    with torch.no_grad():
        head.weight.fill_(1.0)
        head.bias.copy_(torch.tensor([0.0, -0.1]))
    classifier = WrappedClassifier(nn.Sequential(nn.Flatten(), head), (1, 1, 1), 2)
    _, _, found = bounded(classifier, torch.full((1, 1, 1, 1), 0.5), 0.3)
    assert found.margin[0, 1].item() == pytest.approx(0.1, abs=1e-7)
    assert found.certified.all()


@pytest.mark.parametrize(("activation", "low", "high"), [(nn.SiLU(), -4.0, 4.0), (nn.GELU(), -3.0, 3.0)])
def test_the_bounds_of_an_activation_that_dips_are_its_extremes(activation, low, high):
    grid = torch.linspace(low, high, 20_001, dtype=torch.float64)
    expected = activation(grid)
    classifier = WrappedClassifier(nn.Sequential(activation, nn.Flatten(), nn.Linear(1, 2)), (1, 1, 1), 2)
    with torch.no_grad():
        classifier.head.weight.fill_(1.0)
        classifier.head.bias.zero_()
    found = interval_bounds(
        classifier.eval(),
        torch.full((1, 1, 1, 1), low),
        torch.full((1, 1, 1, 1), high),
        torch.zeros(1).long(),
    )
    assert found.logits.lower[0, 0].item() == pytest.approx(expected.min().item(), abs=1e-6)
    assert found.logits.lower[0, 0] <= expected.min()
    assert found.logits.upper[0, 0].item() == pytest.approx(expected.max().item(), abs=1e-6)


class Odd(nn.Module):
    """A linear layer behind an operation."""

    def __init__(self, operation) -> None:
        super().__init__()
        self.operation, self.head = operation, nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.operation(images.flatten(1)))


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        (torch.sin, "sin"),
        (lambda values: operator.mul(values, values), "two values"),
        (lambda values: torch.add(values, values, alpha=-1), "add"),
        (lambda values: 1 / (values + 1), "division"),
        (lambda values: values if values.sum() > 0 else -values, "traced"),
        (lambda values: torch.cat([values, values], dim=1)[:, :4], "cat"),
        (lambda values: values + torch.rand_like(values), "rand_like"),
        (nn.Softsign(), "Softsign"),
    ],
)
def test_what_is_not_known_is_refused_by_name(operation, named):
    classifier = WrappedClassifier(Odd(operation).eval(), (1, 2, 2), 2)
    with pytest.raises(NotBounded, match=named):
        bounded(classifier, torch.rand(1, 1, 2, 2), 0.1)
