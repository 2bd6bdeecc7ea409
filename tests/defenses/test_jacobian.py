"""The gradient penalty on a linear network, where every norm has a closed form."""

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.core.classifier import Classifier
from bench.core.margins import decision_function
from bench.core.threat import Threat
from bench.data import Split
from defenses import Training
from defenses.gradients import gradient_penalty
from defenses.jacobian import Jacobian

WEIGHT = torch.tensor([[1.0, -2.0, 0.5, 3.0], [0.0, 1.0, -1.5, 1.0]])


def linear(batch_norm: bool = False) -> Classifier:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(4, 4)]
    if batch_norm:
        layers.append(nn.BatchNorm1d(4))
    classifier = Classifier(
        nn.Sequential(*layers),
        nn.Linear(4, 2),
        activation=nn.Identity(),
        site="pooled",
        input_shape=(1, 2, 2),
    )
    with torch.no_grad():
        layers[1].weight.copy_(torch.eye(4))  # type: ignore[operator,union-attr]
        classifier.head.weight.copy_(WEIGHT)
    return classifier


def penalty(norm: str, reduce: str, scale: int = 1) -> Tensor:
    classifier = linear()
    images = torch.rand(6, 1, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    values = decision_function(classifier(images), torch.zeros(6, dtype=torch.int64))
    return gradient_penalty(values, images, norm, reduce, scale)  # type: ignore[arg-type]


DIFFERENCE = WEIGHT[0] - WEIGHT[1]


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        ("l1", DIFFERENCE.abs().sum()),
        ("l2", DIFFERENCE.norm()),
        ("l2_squared", DIFFERENCE.square().sum()),
        ("linf", DIFFERENCE.abs().max()),
    ],
)
@pytest.mark.parametrize("scale", [1, 255])
def test_norms_of_a_linear_network(norm: str, expected: Tensor, scale: int) -> None:
    power = 2 if norm == "l2_squared" else 1
    torch.testing.assert_close(penalty(norm, "per_sample", scale), expected / scale**power)


def test_the_gradient_of_the_batch_mean_is_smaller_by_the_batch() -> None:
    torch.testing.assert_close(penalty("l2_squared", "batch_mean_grad"), DIFFERENCE.square().sum() / 6)


def test_double_backpropagation_gives_twice_the_difference() -> None:
    classifier = linear()
    images = torch.rand(3, 1, 2, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    values = decision_function(classifier(images), torch.zeros(3, dtype=torch.int64))
    (gradient,) = torch.autograd.grad(gradient_penalty(values, images, "l2_squared"), classifier.head.weight)
    torch.testing.assert_close(gradient, torch.stack([2 * DIFFERENCE, -2 * DIFFERENCE]))


def test_a_dead_network_gives_finite_gradients() -> None:
    classifier = linear()
    with torch.no_grad():
        classifier.head.weight.zero_()
    images = torch.rand(3, 1, 2, 2).requires_grad_()
    values = decision_function(classifier(images), torch.zeros(3, dtype=torch.int64))
    for norm in ("l1", "l2", "l2_squared", "linf"):
        (gradient,) = torch.autograd.grad(
            gradient_penalty(values, images, norm),
            classifier.head.weight,
            retain_graph=True,  # type: ignore[arg-type]
        )
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("bn", ["eval", "train"])
def test_batch_norm_couples_images_only_when_asked(bn: str) -> None:
    classifier = linear(batch_norm=True).train()
    images = torch.rand(8, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    labels = torch.arange(8) % 2
    twin = copy.deepcopy(classifier)
    training = Training(classifier, Split((images * 255).byte(), labels), Threat("linf", "0.1"), 1, 0, 8)
    loss = Jacobian(c=1.0, bn=bn).objective(training).loss(classifier, images, labels)  # type: ignore[arg-type]
    assert all(module.training for module in classifier.modules())

    traced = images.clone().requires_grad_()
    logits = twin(traced)
    if bn == "eval":
        batch_norm = twin.backbone[2]  # type: ignore[index]
        expected = (DIFFERENCE / (batch_norm.running_var + batch_norm.eps).sqrt()).norm()
    else:
        (gradient,) = torch.autograd.grad(decision_function(logits, labels).sum(), traced, retain_graph=True)
        expected = gradient.flatten(1).norm(dim=1).mean()
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels) + expected)
