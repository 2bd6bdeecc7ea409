import math
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.errors import NotFinite, UserError
from bench.core.margins import decision_function
from bench.geometry.surface import (
    BETAS,
    attack_direction,
    downhill,
    filter_normalised,
    first_crossing,
    input_surface,
    parameter_surface,
    pixel_step,
    profiles,
    random_direction,
    steepest,
)

SHAPE = (1, 3, 4)
#: Appendix 8.1 of the decision-surface paper: logits (k, 1, …, 1), ten classes.
PAPER = (3.237, 2.303, 1.461, 0.797, 0.370, 0.153, 0.059, 0.022, 0.008, 0.003)


class FirstPixel(nn.Module):
    """Logits (first pixel, 1, …, 1)."""

    def forward(self, images):
        ones = torch.ones(len(images), 9, dtype=images.dtype)
        return torch.cat([images.flatten(1)[:, :1], ones], dim=1)


class Constant(nn.Module):
    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images):
        return self.logits.expand(len(images), -1)


class Failing(nn.Module):
    """Fails at the pass with this number."""

    def __init__(self, module):
        super().__init__()
        self.module, self.passes, self.last = module, 0, math.inf

    def forward(self, images):
        self.passes += 1
        if self.passes > self.last:
            raise RuntimeError("out of luck")
        return self.module(images)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def linear(classes=2, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(SHAPE), classes))
    return WrappedClassifier(module, SHAPE, classes)


def convolutional(classes=3, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        backbone = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(48, 6)
        )
        return Classifier(
            backbone, nn.Linear(6, classes), activation=nn.ReLU(), site="pre-activation", input_shape=SHAPE
        )


def draws(count=5, classes=2, seed=1):
    return torch.rand(count, *SHAPE, generator=generator(seed)), torch.randint(
        classes, (count,), generator=generator(seed)
    )


def test_the_steps_are_the_papers():
    assert pixel_step(3) == 1 / 255
    assert pixel_step(1) == 0.05


@pytest.mark.parametrize("beta", ["untargeted", "cw"])
def test_on_a_linear_network_of_two_classes_the_margin_falls_by_the_norm_of_the_jacobian(beta):
    classifier = linear()
    images, labels = draws()
    weight = classifier.head.weight.detach()
    jacobian = weight[labels] - weight[1 - labels]
    direction = attack_direction(classifier, images, labels, beta, generator())
    torch.testing.assert_close(direction.flatten(1), -jacobian.sign())
    offsets = torch.linspace(-2, 2, 9)
    start = decision_function(classifier(images), labels).detach().double()
    expected = start[:, None] - offsets.double() * jacobian.abs().sum(dim=1, keepdim=True).double()
    torch.testing.assert_close(
        profiles(classifier, images, labels, direction, offsets), expected, atol=1e-5, rtol=1e-5
    )


def test_the_least_likely_class_comes_nearer_along_its_direction():
    classifier = convolutional(classes=5).eval()
    images, labels = draws(8, 5)
    labels = classifier(images).argmax(dim=1)
    direction = attack_direction(classifier, images, labels, "least_likely", generator())
    target = classifier(images).argmin(dim=1)

    def loss(points):
        return F.cross_entropy(classifier(points).double(), target, reduction="none")

    falls = loss(images + 1e-3 * direction) < loss(images)
    # Where L would rise on the way, the direction is turned round.
    points = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(points).sum(), points)
    turned = (direction * slope).flatten(1).sum(dim=1) > 0
    assert torch.equal(falls, ~turned)
    assert falls.any()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(BETAS))
def test_the_margin_falls_along_every_direction(seed, beta):
    classifier = convolutional(4, seed).double().eval()
    images, labels = draws(6, 4, seed)
    images = images.double()
    direction = attack_direction(classifier, images, labels, beta, generator(seed))
    assert (direction.abs().eq(1) | direction.eq(0)).all()
    points = images.clone().requires_grad_()
    (slope,) = torch.autograd.grad(decision_function(classifier(points), labels).sum(), points)
    assert ((direction * slope).flatten(1).sum(dim=1) <= 0).all()


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000))
def test_the_untargeted_direction_is_the_sign_of_the_gradient_of_cross_entropy_up_to_a_turn(seed):
    classifier = convolutional(4, seed).double().eval()
    images, labels = draws(6, 4, seed)
    points = images.double().requires_grad_()
    loss = F.cross_entropy(classifier(points), labels, reduction="sum")
    expected = torch.autograd.grad(loss, points)[0].sign().flatten(1)
    found = attack_direction(classifier, images.double(), labels, "untargeted", generator()).flatten(1)
    same, turned = (found == expected).all(dim=1), (found == -expected).all(dim=1)
    assert (same | turned).all()
    assert same.any()


@pytest.mark.parametrize("beta", ["untargeted", "least_likely", "cw"])
def test_a_saturated_network_has_the_direction_of_the_same_network_unsaturated(beta):
    plain = linear(3)
    images, _ = draws(6)
    labels = plain(images).argmax(dim=1)
    loud = linear(3)
    with torch.no_grad():
        loud.head.weight.mul_(1e4)
        loud.head.bias.mul_(1e4)
    quiet = linear(3)
    with torch.no_grad():
        # Saturated or not, what counts is the largest of the others.
        quiet.head.weight.mul_(1e3)
        quiet.head.bias.mul_(1e3)
    found = [attack_direction(network, images, labels, beta, generator()) for network in (loud, quiet)]
    assert found[0].abs().min() == 1
    assert torch.equal(*found)


def test_a_surface_is_the_function_at_each_point():
    classifier = convolutional().eval()
    (image,), (label,) = draws(1, 3)
    alpha, beta = random_direction(torch.zeros(2, *SHAPE), generator())
    offsets = torch.tensor([-0.3, 0.0, 0.1, 0.5])
    found = input_surface(classifier, image, label, alpha, beta, offsets, batch_size=3)
    for row, i in enumerate(offsets):
        for column, j in enumerate(offsets):
            logits = classifier((image + i * alpha + j * beta)[None]).detach().double()
            margin = decision_function(logits, label[None]).item()
            assert found.decision[row, column].item() == pytest.approx(margin, abs=1e-5)
            loss = F.cross_entropy(logits, label[None]).item()
            assert found.cross_entropy[row, column].item() == pytest.approx(loss, abs=1e-5)


def test_a_loss_surface_goes_through_the_table_of_appendix_8_1_where_the_decision_surface_is_straight():
    classifier = WrappedClassifier(FirstPixel(), SHAPE, 10)
    image = torch.zeros(SHAPE)
    alpha, beta = torch.zeros(SHAPE), torch.zeros(SHAPE)
    alpha[0, 0, 0], beta[0, 1, 1] = 1, 1
    offsets = torch.arange(10.0)
    found = input_surface(classifier, image, torch.tensor(0), alpha, beta, offsets)
    for j in range(10):
        assert found.cross_entropy[:, j].tolist() == pytest.approx(PAPER, abs=5e-4)
        assert found.decision[:, j].tolist() == [k - 1 for k in range(10)]


def test_a_profile_is_a_line_of_the_surface():
    classifier = convolutional()
    images, labels = draws(3, 3)
    betas = attack_direction(classifier, images, labels, "cw", generator())
    offsets = torch.linspace(-1, 1, 5)
    lines = profiles(classifier, images, labels, betas, offsets)
    for image, label, beta, line in zip(images, labels, betas, lines, strict=True):
        surface = input_surface(classifier, image, label, torch.zeros(SHAPE), beta, offsets)
        torch.testing.assert_close(surface.decision, line.expand(5, 5), atol=1e-6, rtol=1e-6)


def test_no_image_gives_no_profile():
    empty = torch.zeros(0, *SHAPE)
    assert profiles(linear(), empty, torch.zeros(0, dtype=torch.int64), empty, torch.arange(4)).shape == (
        0,
        4,
    )


def test_random_directions_are_signs_drawn_for_each_image():
    found = random_direction(torch.zeros(200, *SHAPE), generator())
    assert set(found.unique().tolist()) == {-1, 1}
    assert abs(found.mean().item()) < 4 / math.sqrt(found.numel())
    assert len(found.flatten(1).unique(dim=0)) > 150
    assert torch.equal(found, random_direction(torch.zeros(200, *SHAPE), generator()))


@pytest.mark.parametrize("beta", BETAS)
def test_a_constant_network_is_flat_along_every_direction(beta):
    classifier = WrappedClassifier(Constant(1.0, 0.0, 0.5), SHAPE, 3)
    images, labels = draws(2, 3)
    betas = attack_direction(classifier, images, labels, beta, generator())
    assert betas.any().item() == (beta == "random")
    lines = profiles(classifier, images, labels, betas, torch.arange(4.0))
    assert (lines == lines[:, :1]).all()


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 0.99), st.floats(0.1, 10))
def test_the_crossing_of_a_straight_line_is_where_it_meets_zero(place, slope):
    offsets = torch.linspace(0, 1, 7, dtype=torch.double)
    values = slope * (place - offsets)
    assert first_crossing(offsets, values[None]).item() == pytest.approx(place)


def test_a_crossing_is_the_first_one_and_infinite_where_there_is_none():
    offsets = torch.tensor([0.0, 1.0, 2.0, 3.0])
    values = torch.tensor([[1.0, -1, 1, -1], [1, 2, 3, 4], [-1, 1, 1, 1], [1, 0, 0, 0], [3, 2, 1, -1]])
    assert first_crossing(offsets, values).tolist() == [0.5, math.inf, 0.0, 1.0, 2.5]
    assert first_crossing(offsets, values[:0]).shape == (0,)


def test_filters_of_a_direction_are_as_long_as_the_networks():
    classifier = convolutional()
    direction = filter_normalised(classifier, generator())
    parameters = dict(classifier.named_parameters())
    assert set(direction) == {name for name, value in parameters.items() if value.dim() > 1}
    for name, part in direction.items():
        torch.testing.assert_close(
            part.flatten(1).norm(dim=1), parameters[name].detach().flatten(1).norm(dim=1)
        )
        assert not torch.equal(part, parameters[name])


def test_a_network_without_weights_has_no_direction():
    bare = WrappedClassifier(Constant(1.0, 0.0), SHAPE, 2)
    with pytest.raises(UserError, match="weights"):
        filter_normalised(bare, generator())
    with pytest.raises(UserError, match="weights"):
        steepest(bare, *draws(2, 2))


def test_the_adversarial_direction_of_a_linear_network_is_its_mean_image():
    classifier = linear(2)
    images, _ = draws(5, 2)
    labels = torch.zeros(5, dtype=torch.long)
    (weight,) = steepest(classifier, images, labels, batch_size=2).values()
    # L = (w_0 − w_1)·x + b_0 − b_1: its gradient is the mean image for w_0, and its opposite for w_1.
    mean, own = images.mean(dim=0).flatten(), classifier.module[-1].weight.detach()
    expected = torch.stack([-mean, mean]) / mean.norm() * own.norm(dim=1, keepdim=True)
    torch.testing.assert_close(weight, expected)


def test_no_direction_of_the_same_filter_lengths_is_steeper_than_the_adversarial_one():
    classifier = convolutional().eval()
    images, labels = draws(7, 3)

    def slope(direction):
        zero = {name: torch.zeros_like(part) for name, part in direction.items()}
        values = parameter_surface(
            classifier, images, labels, zero, direction, torch.tensor([-1e-3, 0, 1e-3])
        ).decision[1]
        return (values[2] - values[0]).item()

    found = steepest(classifier, images, labels, batch_size=3)
    for name, part in found.items():
        lengths = part.flatten(1).norm(dim=1)
        own = dict(classifier.named_parameters())[name].detach().flatten(1).norm(dim=1)
        torch.testing.assert_close(lengths, own.where(lengths > 0, 0.0))
    others = [
        slope(downhill(classifier, images, labels, filter_normalised(classifier, generator(seed))))
        for seed in range(8)
    ]
    assert slope(found) < 2 * min(others) < 0


def test_filters_without_gradient_stay_put():
    classifier = convolutional()
    with torch.no_grad():
        classifier.head.weight.zero_()
    found = steepest(classifier, *draws(4, 3))
    assert not any(part.any() for name, part in found.items() if "head" not in name)


@pytest.mark.parametrize("make", [convolutional, lambda: linear(3)])
def test_a_parameter_surface_is_that_of_networks_whose_weights_were_set(make):
    classifier, copy = make(), make().eval()
    images, labels = draws(7, 3)
    alpha, beta = (filter_normalised(classifier, generator(seed)) for seed in (0, 1))
    offsets = torch.tensor([-0.5, 0.0, 1.0])
    found = parameter_surface(classifier, images, labels, alpha, beta, offsets, batch_size=3)
    for row, i in enumerate(offsets):
        for column, j in enumerate(offsets):
            with torch.no_grad():
                for (name, weight), own in zip(copy.named_parameters(), classifier.parameters(), strict=True):
                    move = i * alpha[name] + j * beta[name] if name in alpha else 0
                    weight.copy_(own + move)
            logits = copy(images).detach().double()
            loss = F.cross_entropy(logits, labels).item()
            assert found.cross_entropy[row, column].item() == pytest.approx(loss, abs=1e-5)
            margin = decision_function(logits, labels).mean().item()
            assert found.decision[row, column].item() == pytest.approx(margin, abs=1e-5)


def test_the_margin_falls_along_the_downhill_direction_in_parameter_space():
    classifier = convolutional().eval()
    images, labels = draws(7, 3)
    for seed in range(4):
        direction = filter_normalised(classifier, generator(seed))
        found = downhill(classifier, images, labels, direction, batch_size=3)
        zero = {name: torch.zeros_like(part) for name, part in found.items()}
        values = parameter_surface(
            classifier, images, labels, zero, found, torch.tensor([-1e-3, 0, 1e-3])
        ).decision[1]
        assert values[0] > values[2]
        assert all(torch.equal(part.abs(), direction[name].abs()) for name, part in found.items())


@pytest.mark.parametrize("last", [0, 7, math.inf])
def test_weights_modes_and_random_state_are_as_they_were_even_when_a_pass_fails(last):
    failing = Failing(convolutional().train())
    classifier = WrappedClassifier(failing, SHAPE, 3)
    classifier.train()
    failing.module.head.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    places = {name: value.data_ptr() for name, value in classifier.named_parameters()}
    state = torch.random.get_rng_state()
    images, labels = draws(4, 3)
    direction = filter_normalised(classifier, generator())
    failing.passes, failing.last = 0, last
    with pytest.raises(RuntimeError, match="out of luck") if last < math.inf else nullcontext():
        downhill(classifier, images, labels, direction)
        steepest(classifier, images, labels)
        parameter_surface(classifier, images, labels, direction, direction, torch.arange(3.0))
    assert all(torch.equal(value, before[name]) for name, value in classifier.state_dict().items())
    assert places == {name: value.data_ptr() for name, value in classifier.named_parameters()}
    assert all(module.training for module in classifier.modules())
    assert [name for name, value in classifier.named_parameters() if not value.requires_grad] == [
        "module.module.head.bias"
    ]
    assert all(value.grad is None for value in classifier.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


def test_weights_that_overflow_leave_a_gap():
    classifier = linear(3)
    images, labels = draws(4, 3)
    direction = filter_normalised(classifier, generator())
    found = parameter_surface(classifier, images, labels, direction, direction, torch.tensor([0.0, math.inf]))
    assert found.decision.isfinite().tolist()[0][0]
    assert found.decision[1, 1].isnan()


def test_mistakes_are_told():
    images, labels = draws()
    with pytest.raises(UserError, match="did you mean untargeted"):
        attack_direction(linear(), images, labels, "untarget", generator())
    with pytest.raises(UserError, match="at least one image"):
        parameter_surface(linear(), images[:0], labels[:0], {}, {}, torch.arange(2.0))
    classifier = WrappedClassifier(Constant(math.nan, 0.0), SHAPE, 2)
    with pytest.raises(NotFinite):
        input_surface(classifier, images[0], labels[0], images[0], images[0], torch.arange(2.0))
