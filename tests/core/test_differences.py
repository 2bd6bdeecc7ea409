"""Gradients against finite differences, where the right answer is known."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.core.checks import runner_up_is_tied
from bench.core.classifier import WrappedClassifier
from bench.core.differences import gradient_errors


class Scaled(torch.autograd.Function):
    """Values as they are, with `factor` times their gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.factor * gradients[0], None


class Network(nn.Module):
    """A small network behind a change of its images, or before one of its logits."""

    def __init__(
        self, see: Callable[[Tensor], Tensor] | None = None, say: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 4))
        self.see, self.say = see, say
        self.inside = (1.0, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        low, high = (float(bound) for bound in images.detach().aminmax())
        self.inside = min(self.inside[0], low), max(self.inside[1], high)
        logits: Tensor = self.layers(images if self.see is None else self.see(images))
        return logits if self.say is None else self.say(logits)


def errors_of(network: Network) -> Tensor:
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1)).round(decimals=1)
    wrapped = WrappedClassifier(network, (1, 8, 8), 4).eval()
    return gradient_errors(wrapped, images, torch.Generator().manual_seed(2), 7)


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.5, 0.0, 3.0])
def test_the_error_of_a_gradient_that_is_wrong_by_a_factor_is_known(factor: float) -> None:
    network = Network(lambda images: Scaled.apply(images, factor))
    errors = errors_of(network)
    told = errors[~errors.isnan()]
    assert len(told) >= 15  # the others have a kink of the ReLU between the points
    expected = abs(1 - factor) / max(1, abs(factor))
    assert (told - expected).abs().median() < 0.01
    assert network.inside[0] >= 0
    assert network.inside[1] <= 1
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("factor", [1e4, 1e-4])
def test_neither_large_nor_small_logits_are_taken_for_wrong(factor: float) -> None:
    errors = errors_of(Network(say=lambda logits: factor * logits))
    assert float(errors[~errors.isnan()].median()) < 0.01


def test_steps_and_rounding_tell_nothing() -> None:
    gray = errors_of(Network(lambda images: Scaled.apply(images, 1.0) * 0 + (8 * images).round() / 8))
    rounded = errors_of(Network(say=lambda logits: logits.bfloat16().float()))
    constant = errors_of(Network(say=lambda logits: logits.detach() * 0))
    assert gray.isnan().float().mean() > 0.7
    assert rounded.isnan().float().mean() > 0.7
    assert constant.isnan().all()


def test_a_runner_up_that_says_nothing() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [5.0, 1.0, 1.0, 0.0], [9.0, 4.0, 3.0, 2.0]])
    assert runner_up_is_tied(logits).tolist() == [False, True, False]
    constant = torch.tensor([[3.0, 1.0, 0.0], [1.0, 7.0, 0.0], [6.0, 0.5, 0.0]])
    assert runner_up_is_tied(constant).tolist() == [True, True, False]
