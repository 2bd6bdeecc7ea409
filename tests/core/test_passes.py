"""Every pass through a network is counted once, whichever way it is taken."""

import gc
import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call, jvp

from bench.core.classifier import Classifier, WrappedClassifier
from bench.core.gradients import input_gradient, input_gradients
from bench.core.passes import PassCount, batched_backward, counting, forward_mode
from bench.core.randomness import seeded
from tests.metrics.toys import evaluate, split

SHAPE = (1, 2, 3)


def plain():
    with seeded(0):
        backbone = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 5))
        return Classifier(
            backbone, nn.Linear(5, 4), activation=nn.ReLU(), site="pre-activation", input_shape=SHAPE
        )


def wrapped():
    with seeded(0):
        module = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 4))
    return WrappedClassifier(module, SHAPE, 4)


def bare():
    with seeded(0):
        return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Softplus(), nn.Linear(5, 4))


NETWORKS = [plain, wrapped, bare]


def toy():
    points = split([[0.2, 0.1], [-0.3, 0.1], [0.4, -0.2]], [1, 0, 1])
    return evaluate(points, points)


def images_of(count):
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def hooks_of(classifier):
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in classifier.modules())


@pytest.mark.parametrize("make", [plain, wrapped])
def test_every_way_through_a_classifier_counts_once(make):
    classifier = make()
    weights = {name: parameter.detach() for name, parameter in classifier.named_parameters()}
    ways = (
        classifier,
        classifier.features,
        classifier.forward_with_features,
        lambda images: functional_call(classifier, weights, (images,)),
    )
    for way in ways:
        with counting(classifier) as passes:
            way(images_of(7))
        assert passes == PassCount(7, 0)


@pytest.mark.parametrize("make", NETWORKS)
def test_backward_passes_to_images_and_to_weights_count(make):
    classifier, images = make(), images_of(5).requires_grad_()
    with counting(classifier) as passes:
        values = classifier(images).square().sum(dim=1)
        input_gradient(values, images, keep_graph=True)
        values.sum().backward()
    assert passes == PassCount(5, 10)


@pytest.mark.parametrize("make", NETWORKS)
@pytest.mark.parametrize("rows", [1, 10, 10_000])
def test_a_batched_backward_pass_counts_for_every_column(make, rows, monkeypatch):
    monkeypatch.setattr("bench.core.gradients._CPU_VALUES", rows)
    monkeypatch.setattr("bench.core.gradients._CPU_ROWS", rows)
    classifier, images = make(), images_of(5).requires_grad_()
    with counting(classifier) as passes:
        list(input_gradients(classifier(images), images))
    assert passes == PassCount(5, 4 * 5)


class Unbatched(torch.autograd.Function):
    """The identity, with a backward pass that cannot be batched."""

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return torch.from_numpy(gradient.numpy())


def test_a_batched_backward_pass_that_fails_does_not_count():
    class Stubborn(nn.Module):
        def forward(self, images):
            return Unbatched.apply(images.flatten(1)).square()[:, :3]

    classifier, images = Stubborn(), images_of(5).requires_grad_()
    with counting(classifier) as passes:
        list(input_gradients(classifier(images), images))
    assert passes == PassCount(5, 3 * 5)


def test_nothing_counts_in_a_batched_block_that_raises():
    def fail():
        with batched_backward(3):
            classifier(images).sum().backward()
            raise RuntimeError("on purpose")

    classifier, images = plain(), images_of(5)
    with counting(classifier) as passes:
        with pytest.raises(RuntimeError, match="on purpose"):
            fail()
        classifier(images).sum().backward()
    assert passes == PassCount(10, 5)


@pytest.mark.parametrize("make", NETWORKS)
def test_a_backward_pass_through_a_backward_pass_counts(make):
    classifier, images = make(), images_of(1).requires_grad_()
    classifier.requires_grad_(False)
    with counting(classifier) as passes:
        value = classifier(images)[:, 0]
        (gradient,) = torch.autograd.grad(value.sum(), images, create_graph=True)
        assert passes == PassCount(1, 1)
        list(input_gradients(gradient.flatten(1), images))
    assert passes == PassCount(1, 1 + 6)


@pytest.mark.parametrize("make", NETWORKS)
def test_directional_derivatives_count_as_a_pass_each_way(make):
    classifier, images = make(), images_of(3)

    def slope(network, points):
        with warnings.catch_warnings(), forward_mode():
            warnings.filterwarnings("ignore", message=".*torch.jit.script")
            return jvp(network, (points,), (torch.ones_like(points),))[1]

    with counting(classifier) as passes, torch.no_grad():
        slope(classifier, images)
        assert passes == PassCount(3, 3)
        slope(lambda points: slope(classifier, points), images)
    assert passes == PassCount(3 + 3, 3 + 6)


def test_counters_do_not_disturb_each_other_and_add_up():
    first, second = plain(), wrapped()
    total = PassCount()
    with counting(first, total), counting(second, total), counting(first) as alone:
        first(images_of(2))
        second(images_of(3))
    assert (total, alone) == (PassCount(5, 0), PassCount(2, 0))


@pytest.mark.parametrize("make", NETWORKS)
def test_a_pass_that_fails_does_not_count_and_nothing_is_left_behind(make):
    classifier = make()
    with pytest.raises(RuntimeError), counting(classifier) as passes:
        classifier(torch.rand(2, 1, 5, 5))
    assert passes == PassCount(0, 0)
    assert hooks_of(classifier) == 0


def test_an_evaluation_counts_for_its_metrics_and_ignores_what_they_add_by_hand():
    evaluation = toy()
    images, classifier = evaluation.images, evaluation.classifier
    classifier(images)
    evaluation.forwards += len(images)
    evaluation.backwards += 3
    assert (evaluation.forwards, evaluation.backwards) == (len(images), 0)


def test_an_evaluation_leaves_its_classifier_without_hooks():
    evaluation = toy()
    classifier = evaluation.classifier
    assert hooks_of(classifier) == 1
    del evaluation
    gc.collect()
    assert hooks_of(classifier) == 0
