"""Stand-ins: the network's answers, with the gradient that it hides."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.attacks.stand_in import StandIn
from tests.attacks.linear import Linear, classifier, some_images


class Around(nn.Module):
    def __init__(self, see: Callable[[Tensor], Tensor], say: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.see, self.say = Linear(), see, say

    def forward(self, images: Tensor) -> Tensor:
        return self.say(self.network(self.see(images)))


def same(values: Tensor) -> Tensor:
    return values


def without_graph(network: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def run(values: Tensor) -> Tensor:
        with torch.no_grad():
            return network(values)

    return run


#: Each hides the gradient of the linear network, which is the same everywhere.
HIDDEN = {
    "rounded": (lambda x: (8 * x).round() / 8, same),
    "uint8": (lambda x: (255 * x).to(torch.uint8).float() / 255, same),
    "numpy": (lambda x: torch.from_numpy(x.detach().cpu().numpy().round(1)), same),
    "no_grad": (without_graph(lambda x: 1 * x), same),
    "one-hot": (same, lambda z: 10 * F.one_hot(z.argmax(dim=1), 2).float()),
    "saturated": (same, lambda z: torch.tanh(1e6 * z)),
    "detached": (same, lambda z: z.detach()),
}


def gradient(network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    points = images.clone().requires_grad_()
    logits = network(points)
    (found,) = torch.autograd.grad((logits[:, 1] - logits[:, 0]).sum(), points)
    return found


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("double", [False, True])
def test_the_hidden_gradient_comes_back(name: str, double: bool) -> None:
    images, _ = some_images()
    network = classifier(Around(*HIDDEN[name]))
    stand_in = StandIn(network, images, double=double)
    with torch.no_grad():
        assert torch.equal(stand_in(images).argmax(dim=1), network(images).argmax(dim=1))
    found, true = gradient(stand_in, images), gradient(Linear(), images)
    torch.testing.assert_close(F.normalize(found.flatten(1)), F.normalize(true.flatten(1)))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in network.modules())


def test_a_misleading_gradient_is_replaced_where_it_is_asked_for() -> None:
    images, _ = some_images()
    network = classifier(Around(lambda x: x.flip(3).detach() + 2 * x - x.detach() - x, same))
    replaced = gradient(StandIn(network, images, always=True), images)
    torch.testing.assert_close(replaced, gradient(Linear(), images))


class NotANumber(torch.autograd.Function):
    """Images as they are, with a backward pass that answers NaN even to a gradient of zero."""

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.full_like(gradients[0], torch.nan)


def test_a_replaced_backward_pass_is_not_asked_at_all() -> None:
    images, _ = some_images()
    network = classifier(Around(NotANumber.apply, same))
    replaced = gradient(StandIn(network, images, always=True), images)
    torch.testing.assert_close(replaced, gradient(Linear(), images))


class Votes(nn.Module):
    """One-hot votes of two linear networks that see the images in opposite order."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = Linear(), Around(lambda x: x.flip(3), same)

    def forward(self, images: Tensor) -> Tensor:
        votes = [F.one_hot(part(images).argmax(dim=1), 2) for part in (self.first, self.second)]
        return torch.stack(votes).float().mean(dim=0)


def test_votes_are_differentiated_through_every_member() -> None:
    images, _ = some_images()
    images = 0.51 * images + 0.49 * images.flip(3)  # so that both agree
    network = Votes()
    found = gradient(StandIn(classifier(network), images), images)
    each = [gradient(part, images) for part in (network.first, network.second)]
    torch.testing.assert_close(found, sum(each) / 2)


class Saturated(nn.Module):
    """The linear network behind an activation that is flat nearly everywhere."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.activation = Linear(), activation

    def forward(self, images: Tensor) -> Tensor:
        return 3 * self.activation(1e4 * self.network(images))


@pytest.mark.parametrize("activation", [torch.tanh, torch.sigmoid, F.hardtanh])
def test_a_saturated_activation_passes_the_gradient_on(activation: Callable[[Tensor], Tensor]) -> None:
    images, _ = some_images()
    network = classifier(Saturated(activation))
    assert not gradient(network, images).flatten(1).any(dim=1).all()
    found = gradient(StandIn(network, images, always=True, inner=False), images)
    expected = F.normalize(gradient(Linear(), images).flatten(1))
    torch.testing.assert_close(F.normalize(found.flatten(1)), expected)


def test_a_softened_activation_is_wide_in_the_forward_pass_too() -> None:
    images, _ = some_images()
    network = classifier(Saturated(torch.tanh))
    stand_in = StandIn(network, images, inner=False, soft=True)
    assert stand_in.saturates
    inner = 1e4 * Linear()(images)
    torch.testing.assert_close(stand_in(images), 3 * torch.tanh(inner / inner.abs().mean()))
    assert gradient(stand_in, images).flatten(1).any(dim=1).all()
    assert not StandIn(classifier(Linear()), images, soft=True).saturates


def test_gradients_stay_off_where_the_caller_switched_them_off() -> None:
    images, _ = some_images()
    with torch.no_grad():
        StandIn(classifier(Linear()), images)(images)
        assert not torch.is_grad_enabled()
