"""What hides a gradient within a network, and the network around which images or logits are changed.

Each has `smooth`: networks whose gradient leads where the hidden one would, written for this case by hand. They are
used for the truth alone, never by a check.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.alarms.disguises.logits import one_hot


class Around(nn.Module):
    """A network that sees the images, or says its logits, in another way.

    Args:
        network: logits of images.
        see: of the images; None for none.
        say: of the logits; None for none.
    """

    def __init__(
        self,
        network: nn.Module,
        see: Callable[[Tensor], Tensor] | None = None,
        say: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.network, self.see, self.say = network, see, say

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        logits: Tensor = self.network(images if self.see is None else self.see(images))
        return logits if self.say is None else self.say(logits)

    def smooth(self) -> list[nn.Module]:
        """The network alone."""
        return [self.network]


class Dropping(Around):
    """A perceptron with units dropped at inference: all alike, or the small ones more often.

    Source of the latter: Dhillon et al. 2018, Stochastic Activation Pruning.
    """

    def __init__(self, network: nn.Module, by_size: bool) -> None:
        super().__init__(network)
        self.by_size = by_size

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        *first, last = self.network.children()
        values = images
        for layer in first:
            values = layer(values)
        if self.by_size:
            share = values.abs() / values.abs().sum(dim=1, keepdim=True).clamp_min(1e-9)
            kept = 1 - (1 - share).clamp(0, 1) ** 40
        else:
            kept = torch.full_like(values, 0.5)
        mask = torch.rand_like(values) < kept
        logits: Tensor = last(values * mask / kept.clamp_min(1e-6).detach())
        return logits


class Winners(nn.Module):
    """Only the k largest units of a layer (Xiao et al. 2020)."""

    def forward(self, values: Tensor) -> Tensor:
        """[B, D]."""
        least = values.topk(8, dim=1).values[:, -1:]
        return values * (values >= least)


class _SignThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.sign()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class Sign(nn.Module):
    """The sign of each unit; trained with a gradient, used without one."""

    def forward(self, values: Tensor) -> Tensor:
        """[B, D]."""
        if not self.training:
            return values.sign()
        signs: Tensor = _SignThrough.apply(values)
        return signs


class Steep(nn.Module):
    """An activation that is nearly a step, a tanh or another one; trained less steep."""

    function: Callable[[Tensor], Tensor] = staticmethod(torch.tanh)

    def forward(self, values: Tensor) -> Tensor:
        """[B, D]."""
        return self.function((1 if self.training else 300) * values)


class SteepSigmoid(Steep):
    """A sigmoid that is nearly a step."""

    function = staticmethod(torch.sigmoid)


class Replaced(nn.Module):
    """A network with other activations in its place: for the truth."""

    def __init__(self, network: nn.Sequential, old: type[nn.Module], new: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.old, self.new = network, old, new

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        values = images
        for layer in self.network:
            values = self.new(values) if isinstance(layer, self.old) else layer(values)
        return values


class OtherActivation(Around):
    """A network whose activation has no useful gradient.

    Args:
        network: as it is evaluated.
        old: its activation.
        news: activations with a gradient, for the truth.
    """

    def __init__(
        self, network: nn.Sequential, old: type[nn.Module], *news: Callable[[Tensor], Tensor]
    ) -> None:
        super().__init__(network)
        self._smooth = [Replaced(network, old, new) for new in news]

    def smooth(self) -> list[nn.Module]:
        """With the other activations."""
        return [*self._smooth, self.network]


class Thermometer(nn.Module):
    """Each pixel as how many thresholds it passes (Buckman et al. 2018), before a network of so many channels."""

    thresholds: Tensor

    def __init__(self, network: nn.Module, soft: float = 0.0) -> None:
        super().__init__()
        self.network, self.soft = network, soft
        self.register_buffer("thresholds", torch.linspace(0.1, 0.9, 5).view(1, 5, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        above = images - self.thresholds
        code = torch.sigmoid(above / self.soft) if self.soft else (above > 0).float()
        logits: Tensor = self.network(code)
        return logits

    def smooth(self) -> list[nn.Module]:
        """With soft thresholds."""
        return [Thermometer(self.network, soft) for soft in (0.05, 0.15)]


class Ensemble(nn.Module):
    """The mean of several networks, some of which see detached images; or their votes.

    Args:
        networks: members.
        attached: how many of them are differentiated.
        votes: count classes instead of averaging logits.
    """

    def __init__(self, networks: list[nn.Module], attached: int, votes: bool = False) -> None:
        super().__init__()
        self.networks, self.attached, self.votes = nn.ModuleList(networks), attached, votes

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        logits = [
            network(images if number < self.attached else images.detach())
            for number, network in enumerate(self.networks)
        ]
        return torch.stack([one_hot(some) if self.votes else some for some in logits]).mean(dim=0)

    def smooth(self) -> list[nn.Module]:
        """With every member attached."""
        return [Ensemble(list(self.networks), len(self.networks))]


class NoGraph(Around):
    """Evaluated without a graph."""

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        logits: Tensor = self.network(images)
        return logits


class FrozenFirst(Around):
    """The graph ends behind the first layers."""

    network: nn.Sequential

    def __init__(self, network: nn.Sequential, layers: int) -> None:
        super().__init__(network)
        self.layers = layers

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        values = images
        for number, layer in enumerate(self.network):
            values = layer(values)
            if number + 1 == self.layers:
                values = values.detach()
        return values


class BatchStatistics(Around):
    """A network with batch norm that takes the batch's own statistics."""

    network: nn.Sequential

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        values = images
        for layer in self.network:
            if isinstance(layer, nn.BatchNorm2d):
                values = F.batch_norm(values, None, None, layer.weight, layer.bias, training=True)
            else:
                values = layer(values)
        return values
