"""Cheap convolutions: the values and derivatives of PyTorch's own, in whatever geometry."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.margins import decision_function
from bench.models import build
from defenses.double_backward import CheapDoubleBackward, _Convolution
from defenses.gradients import gradient_of

GEOMETRIES: list[dict[str, Any]] = [
    {},
    {"padding": 1},
    {"stride": 2, "padding": 1, "bias": False},
    {"stride": (2, 1), "padding": (0, 2)},
    {"dilation": 2, "padding": 2},
    {"groups": 2, "padding": 1},
    {"padding": "same"},
    {"padding": 1, "padding_mode": "reflect"},
]


def derivatives(layer: nn.Conv2d, images: Tensor, cheap: bool) -> list[Tensor]:
    """The first derivatives of a loss that holds an input gradient: by images, weight and bias."""
    points = images.clone().requires_grad_()
    with CheapDoubleBackward() if cheap else nullcontext():
        values = layer(points).pow(3).flatten(1).sum(dim=1)
    loss = values.mean() + gradient_of(values, points).pow(2).sum()
    return list(torch.autograd.grad(loss, [points, *layer.parameters()]))


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_a_penalty_has_the_same_derivatives(geometry: dict[str, Any]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, **geometry).double()
    images = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    for ours, theirs in zip(derivatives(layer, images, True), derivatives(layer, images, False), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("model", ["cnn6", "resnet18"])
def test_a_networks_penalty_has_the_same_gradient(model: str) -> None:
    classifier = build(model, input_shape=(3, 8, 8), num_classes=3, seed=0).double().eval()
    images = torch.rand(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels, gradients = torch.arange(4) % 3, []
    for context in (CheapDoubleBackward(), nullcontext()):
        points = images.clone().requires_grad_()
        with context:
            values = decision_function(classifier(points), labels)
        penalty = gradient_of(values, points).flatten(1).norm(dim=1).mean() + values.mean()
        gradients.append(torch.autograd.grad(penalty, list(classifier.parameters())))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_only_convolutions_that_it_knows_are_replaced() -> None:
    images = torch.rand(2, 1, 5, 5, requires_grad=True)
    replaced = type(
        _Convolution.apply(images, torch.rand(1, 1, 3, 3), None, ([1, 1], [0, 0], [1, 1], 1)).grad_fn
    )
    layer, same = nn.Conv2d(1, 1, 3), nn.Conv2d(1, 1, 3, padding="same")
    with CheapDoubleBackward():
        assert isinstance(layer(images).grad_fn, replaced)
        assert not isinstance(same(images).grad_fn, replaced)
        with torch.autocast("cpu", torch.bfloat16):
            assert not isinstance(layer(images).grad_fn, replaced)
    assert not isinstance(layer(images).grad_fn, replaced)
