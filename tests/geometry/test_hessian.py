import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from bench.core.classifier import WrappedClassifier
from bench.core.errors import NotFinite, UserError
from bench.core.margins import cross_entropy, decision_function
from bench.core.passes import counting
from bench.core.threat import Threat
from bench.geometry.curvature import smoothed
from bench.geometry.hessian import DenseHessian, LowRankHessian, expand

KINDS = ("ce_exact", "finite_difference", "softplus")


class Quadratic(nn.Module):
    """Logits (b·x + ½xᵀAx, 0)."""

    def __init__(self, slope, matrix):
        super().__init__()
        self.slope, self.matrix = slope, matrix

    def forward(self, images):
        flat = images.flatten(1).to(self.slope)
        value = flat @ self.slope + ((flat @ self.matrix) * flat).sum(dim=1) / 2
        return torch.stack([value, torch.zeros_like(value)], dim=1)


class Constant(nn.Module):
    def __init__(self, *logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images):
        return self.logits.expand(len(images), -1)


class Scaled(nn.Module):
    def __init__(self, module, factor):
        super().__init__()
        self.module, self.factor = module, factor

    def forward(self, images):
        return self.factor * self.module(images.double())


def quadratic(width=5, seed=0, bent=True):
    generator = torch.Generator().manual_seed(seed)
    slope = torch.randn(width, generator=generator, dtype=torch.double)
    matrix = torch.randn(width, width, generator=generator, dtype=torch.double)
    matrix = (matrix + matrix.T) if bent else torch.zeros_like(matrix)
    image = torch.rand(1, 1, width, generator=generator, dtype=torch.double)
    return WrappedClassifier(Quadratic(slope, matrix), (1, 1, width), 2), image, slope, matrix


def relu_network(classes=4, width=6, seed=0, linear=False):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hidden = [] if linear else [nn.Linear(width, 8), nn.ReLU()]
        module = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(width if linear else 8, classes))
    image = torch.rand(1, 2, width // 2, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    return WrappedClassifier(module, (1, 2, width // 2), classes).double(), image


def hessian_of(function, image):
    size = image.numel()
    return torch.autograd.functional.hessian(function, image).reshape(size, size)


def whole(hessian):
    return hessian.rows(0, hessian.size)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(2, 6))
def test_ce_exact_is_the_hessian_of_cross_entropy_that_autograd_finds(seed, classes):
    classifier, image = relu_network(classes, seed=seed)
    label = torch.tensor(seed % classes)
    found = expand(classifier, image, label)

    def function(point):
        return cross_entropy(classifier(point[None]), label[None]).squeeze()

    expected = hessian_of(function, image)
    torch.testing.assert_close(whole(found.hessian), expected)
    torch.testing.assert_close(found.gradient, torch.autograd.functional.jacobian(function, image).flatten())
    assert found.value == pytest.approx(function(image).item())
    torch.testing.assert_close(
        found.hessian.eigenvalues, torch.linalg.eigvalsh(expected).clamp_min(0), atol=1e-12, rtol=1e-7
    )
    assert found.hessian.l1() == pytest.approx(expected.abs().sum().item())
    # Rank at most K − 1.
    assert found.hessian.eigenvalues.count_nonzero() <= classes - 1


def test_of_two_classes_one_eigenvalue_is_left_and_known():
    classifier, image = relu_network(2, linear=True)
    found = expand(classifier, image, torch.tensor(0)).hessian
    weight = classifier.head.weight.detach()
    p = classifier(image[None]).softmax(dim=1)[0, 0].item()
    expected = p * (1 - p) * (weight[0] - weight[1]).square().sum().item()
    assert found.eigenvalues[-1].item() == pytest.approx(expected)
    assert found.near_zero() == 1 - 1 / image.numel()


def test_a_saturated_softmax_keeps_its_digits():
    classifier, image = relu_network(2, linear=True)
    label = classifier(image[None]).argmax()
    gap = decision_function(classifier(image[None]), label[None]).item()
    found = expand(WrappedClassifier(Scaled(classifier, 60 / gap), classifier.input_shape, 2), image, label)
    weight = classifier.head.weight.detach() * 60 / gap
    length = (weight[0] - weight[1]).norm().item()
    assert found.gradient.norm().item() == pytest.approx(math.exp(-60) * length, rel=1e-9)
    expected = math.exp(-60) * length**2
    assert found.hessian.eigenvalues[-1].item() == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_finite_differences_of_a_quadratic_are_exact(seed):
    classifier, image, slope, matrix = quadratic(seed=seed)
    for label, sign in ((0, 1), (1, -1)):
        found = expand(classifier, image, torch.tensor(label), hessian="finite_difference", step=0.3)
        torch.testing.assert_close(whole(found.hessian), sign * matrix)
        torch.testing.assert_close(found.gradient, sign * (slope + matrix @ image.flatten()))
        torch.testing.assert_close(found.hessian.eigenvalues, torch.linalg.eigvalsh(sign * matrix))
        assert found.hessian.l1() == pytest.approx(matrix.abs().sum().item())


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.floats(0.01, 3))
def test_the_change_of_a_quadratic_never_exceeds_the_bound(seed, size):
    classifier, image, _, matrix = quadratic(seed=seed)
    label = torch.tensor(0)
    found = expand(classifier, image, label, hessian="finite_difference", step=0.3)
    delta = size * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    for move in (delta, found.steepest(Threat("l2", str(size))).view_as(image)):
        change = found.function((image + move)[None], label[None]).item() - found.value
        first, second = found.bound(move)
        assert abs(change) <= (first + second) * (1 + 1e-9)
        values, vectors = torch.linalg.eigh(matrix)
        along = vectors.T @ move.flatten()
        assert second == pytest.approx((values.abs() * along.square()).sum().item() / 2)
        assert first == pytest.approx((found.gradient.abs() * move.flatten().abs()).sum().item())


def test_without_curvature_the_bound_is_met_at_the_signs_of_the_gradient():
    classifier, image, slope, _ = quadratic(bent=False)
    label, threat = torch.tensor(0), Threat("linf", "0.3")
    found = expand(classifier, image, label, hessian="finite_difference")
    delta = found.steepest(threat)
    torch.testing.assert_close(delta, 0.3 * slope.sign())
    change = found.function((image + delta.view_as(image))[None], label[None]).item() - found.value
    first, second = found.bound(delta)
    assert second == 0
    assert change == pytest.approx(first)
    assert first == pytest.approx(0.3 * slope.abs().sum().item())
    assert found.hessian.l1() == 0
    assert found.hessian.near_zero() == 1


def test_the_steepest_perturbation_fills_its_ball():
    classifier, image, slope, _ = quadratic(bent=False)
    found = expand(classifier, image, torch.tensor(0), hessian="finite_difference")
    delta = found.steepest(Threat("l2", "0.3"))
    assert delta.norm().item() == pytest.approx(0.3)
    assert (delta @ slope).item() == pytest.approx(0.3 * slope.norm().item())


def test_a_relu_network_has_no_second_derivative_within_a_linear_region():
    classifier, image = relu_network()
    found = expand(classifier, image, torch.tensor(1), hessian="finite_difference", step=1e-6)
    assert found.hessian.l1() == pytest.approx(0, abs=1e-6)


def test_softplus_gives_the_hessian_of_the_smoothed_network():
    classifier, image = relu_network()
    label = torch.tensor(1)
    network = smoothed(classifier, 7.0)
    found = expand(classifier, image, label, hessian="softplus", beta=7.0)

    def function(point):
        return decision_function(network(point[None]), label[None]).squeeze()

    expected = hessian_of(function, image)
    assert expected.abs().sum() > 0
    torch.testing.assert_close(whole(found.hessian), expected)
    assert found.function(image[None], label[None]).item() == pytest.approx(function(image).item())
    differences = expand(
        WrappedClassifier(_Module(network), classifier.input_shape, 4),
        image,
        label,
        hessian="finite_difference",
        step=1e-5,
    )
    torch.testing.assert_close(whole(differences.hessian), expected, atol=1e-6, rtol=1e-5)


class _Module(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images.double())


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_network_has_a_zero_expansion(kind):
    classifier = WrappedClassifier(Constant(2.0, 1.0, 0.0), (1, 1, 3), 3)
    image = torch.rand(1, 1, 3, generator=torch.Generator().manual_seed(0))
    found = expand(classifier, image, torch.tensor(0), hessian=kind)
    assert not found.gradient.any()
    assert found.hessian.l1() == 0
    assert found.hessian.near_zero() == 1
    assert found.bound(found.steepest(Threat("l2", "1"))) == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_the_batch_size_changes_nothing_and_the_network_is_left_as_it_was(kind):
    classifier, image = relu_network()
    classifier.train()
    found = [expand(classifier, image, torch.tensor(2), hessian=kind, batch_size=size) for size in (2, 500)]
    torch.testing.assert_close(whole(found[0].hessian), whole(found[1].hessian))
    assert all(module.training for module in classifier.modules())
    assert all(parameter.requires_grad for parameter in classifier.parameters())
    assert all(parameter.grad is None for parameter in classifier.parameters())


class Counted(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module, self.seen = module, 0

    def forward(self, images):
        self.seen += len(images)
        return self.module(images)


@pytest.mark.parametrize("kind", KINDS)
def test_forwards_are_counted_in_images(kind):
    classifier, image = relu_network()
    counted = Counted(classifier.module)
    watched = WrappedClassifier(counted.float(), classifier.input_shape, 4).double()
    counted.seen, size = 0, image.numel()
    with counting(watched) as passes:
        expand(watched, image, torch.tensor(2), hessian=kind)
    assert counted.seen == passes.forwards
    assert passes.backwards == {"ce_exact": 4, "softplus": 1 + size, "finite_difference": 1 + 2 * size}[kind]


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 9))
def test_a_low_rank_hessian_equals_the_matrix_it_stands_for(seed, classes, size):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(classes, size, generator=generator, dtype=torch.double)
    low, dense = LowRankHessian(factor), DenseHessian(factor.T @ factor)
    delta = torch.randn(size, generator=generator, dtype=torch.double)
    torch.testing.assert_close(low.eigenvalues, dense.eigenvalues, atol=1e-12, rtol=1e-7)
    assert low.l1() == pytest.approx(dense.l1())
    assert low.absolute_form(delta) == pytest.approx(dense.absolute_form(delta))
    torch.testing.assert_close(low.picture(3), dense.picture(3))


def test_the_norm_of_blocks_is_that_of_the_whole(monkeypatch):
    hessian = LowRankHessian(torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).double())
    expected, picture = hessian.l1(), hessian.picture(7)
    assert expected == pytest.approx(whole(hessian).abs().sum().item())
    monkeypatch.setattr("bench.geometry.hessian._ENTRIES", 130)
    assert hessian.l1() == pytest.approx(expected)
    torch.testing.assert_close(hessian.picture(7), picture)


def test_a_picture_is_the_matrix_or_the_mean_size_of_its_cells():
    matrix = torch.tensor([[1.0, -2, 0, 0], [-2, 1, 0, 4], [0, 0, -8, 0], [0, 4, 0, 0]]).double()
    assert torch.equal(DenseHessian(matrix).picture(4), matrix)
    assert DenseHessian(matrix).picture(2).tolist() == [[1.5, 1.0], [1.0, 2.0]]


def test_thousand_classes_on_a_large_image_need_no_square_matrix():
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(4, 150_528, generator=generator, dtype=torch.double)
    hessian = LowRankHessian(factor)
    assert len(hessian.eigenvalues) == 150_528
    assert hessian.eigenvalues.sum().item() == pytest.approx(factor.square().sum().item())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hessian": "ce-exact"}, "did you mean ce_exact"),
        ({"step": 0}, "above 0"),
        ({"beta": -1}, "above 0"),
    ],
)
def test_mistakes_are_told(settings, words):
    classifier, image = relu_network()
    with pytest.raises(UserError, match=words):
        expand(classifier, image, torch.tensor(0), **settings)


@pytest.mark.parametrize("kind", ["finite_difference", "softplus"])
def test_a_whole_hessian_of_a_large_image_is_refused(kind):
    classifier = WrappedClassifier(Constant(1.0, 0.0), (3, 40, 40), 2)
    with pytest.raises(UserError, match="use ce_exact"):
        expand(classifier, torch.zeros(3, 40, 40), torch.tensor(0), hessian=kind)


def test_nan_is_refused():
    classifier, image, _, matrix = quadratic()
    matrix.fill_(math.nan)
    with pytest.raises(NotFinite):
        expand(classifier, image, torch.tensor(0))
