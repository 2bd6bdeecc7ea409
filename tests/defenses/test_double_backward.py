"""Layers for double backpropagation: the values and derivatives of PyTorch's own, in whatever geometry."""

import copy
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.classifier import Classifier
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


LAYERS: list[nn.Module] = [
    nn.BatchNorm2d(4).eval(),
    nn.ReLU(),
    nn.Sequential(nn.Conv2d(4, 4, 3), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(3, stride=2, padding=1)),
    nn.Sequential(nn.BatchNorm2d(4), nn.AvgPool2d(2)),
]


def derivatives(layer: nn.Module, images: Tensor, cheap: bool) -> list[Tensor]:
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


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_other_layers_have_the_same_derivatives(layer: nn.Module) -> None:
    torch.manual_seed(0)
    layer = copy.deepcopy(layer).double()
    for module in layer.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = torch.randn(4).double(), torch.rand(4).double() + 0.5
            nn.init.uniform_(module.weight)
    images = torch.randn(3, 4, 7, 6, dtype=torch.float64)
    for ours, theirs in zip(derivatives(layer, images, True), derivatives(layer, images, False), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("model", ["cnn6", pytest.param("resnet18", marks=pytest.mark.slow)])
def test_a_networks_penalty_has_the_same_gradient(model: str) -> None:
    classifier = build(model, input_shape=(3, 8, 8), num_classes=3, seed=0).double()
    images = torch.rand(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for _ in range(30):
            classifier(images)  # running statistics, without which every feature of resnet18 is 0
    classifier.eval()
    ours, theirs = (penalty_gradients(classifier, images, cheap) for cheap in (True, False))
    assert float(theirs[0].abs().max()) > 0
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def penalty_gradients(classifier: Classifier, images: Tensor, cheap: bool) -> tuple[Tensor, ...]:
    """The gradients in the weights of a mean margin and of the mean norm of its input gradient."""
    points = images.clone().requires_grad_()
    with CheapDoubleBackward() if cheap else nullcontext():
        values = decision_function(classifier(points), torch.arange(len(images)) % 3)
    penalty = gradient_of(values, points).flatten(1).norm(dim=1).mean() + values.mean()
    return torch.autograd.grad(penalty, list(classifier.parameters()))


def test_under_autocast_the_gradient_is_pytorchs_up_to_rounding() -> None:
    classifier = build("cnn6", input_shape=(3, 8, 8), num_classes=3, seed=0).eval()
    images = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = (penalty_gradients(classifier, images, cheap) for cheap in (True, False))
    for one, other in zip(ours, theirs, strict=True):
        assert float((one - other).norm()) < 0.02 * float(other.norm())


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
            assert isinstance(layer(images).grad_fn, replaced)
            assert layer(images).dtype == torch.bfloat16
    assert not isinstance(layer(images).grad_fn, replaced)


def test_no_batch_norm_has_an_epsilon_of_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which torch 2.11 refuses."""
    called, seen = torch.batch_norm, []

    def noting(*args: Any) -> Tensor:
        seen.append(args[7])
        return called(*args)

    monkeypatch.setattr(torch, "batch_norm", noting)
    derivatives(nn.BatchNorm2d(4).eval(), torch.randn(3, 4, 7, 6), True)
    assert len(seen) >= 2
    assert min(seen) > 0
