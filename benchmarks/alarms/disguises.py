"""What hides a network's gradient or its answer, around a network or inside it.

Each has `smooth`: networks whose gradient leads where the hidden one would, written for this case by hand. They are
used for the truth alone, never by a check.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, median_filter
from torch import Tensor, nn
from torch.nn import functional as F


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


def levels(count: int) -> Callable[[Tensor], Tensor]:
    """So many gray levels, by rounding."""
    return lambda images: (images * (count - 1)).round() / (count - 1)


def floor(images: Tensor) -> Tensor:
    """Eight gray levels, rounded down."""
    return (images * 8).floor().clamp(max=7) / 7


def uint8(images: Tensor) -> Tensor:
    """Through a cast to bytes."""
    return (images * 255).to(torch.uint8).float() / 255


def through_numpy(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensor], Tensor]:
    """A change of the images in NumPy, which has no gradient."""

    def see(images: Tensor) -> Tensor:
        return torch.from_numpy(change(images.detach().cpu().numpy()).astype(np.float32)).to(images.device)

    return see


def median(images: np.ndarray) -> np.ndarray:
    """Median of 2x2 pixels."""
    return np.asarray(median_filter(images, size=(1, 1, 2, 2)))


def blur(images: np.ndarray) -> np.ndarray:
    """Gaussian blur."""
    return np.asarray(gaussian_filter(images, sigma=(0, 0, 0.4, 0.4)))


def _cosines() -> Tensor:
    k = torch.arange(8.0)
    basis = torch.cos(torch.pi * (2 * k[None] + 1) * k[:, None] / 16) / 2
    basis[0] /= 2**0.5
    return basis


def jpeg(images: Tensor) -> Tensor:
    """Quantised cosine coefficients of blocks of 8x8, as in JPEG (Guo et al. 2018)."""
    basis = _cosines()
    size = images.shape[-1] // 8
    blocks = images.unfold(2, 8, 8).unfold(3, 8, 8)
    coefficients = basis @ blocks @ basis.T
    steps = 0.15 * (1 + torch.arange(8.0)[:, None] + torch.arange(8.0)[None]) / 2
    back = basis.T @ ((coefficients / steps).round() * steps) @ basis
    return back.permute(0, 1, 2, 4, 3, 5).reshape(len(images), 1, 8 * size, 8 * size).clamp(0, 1)


def resized(images: Tensor) -> Tensor:
    """Random size and padding (Xie et al. 2018)."""
    side = images.shape[-1]
    small = int(torch.randint(side - 1, side + 1, ()))
    left, top = (int(torch.randint(0, side - small + 1, ())) for _ in range(2))
    shrunk = F.interpolate(images, size=small, mode="bilinear", align_corners=False)
    return F.pad(shrunk, (left, side - small - left, top, side - small - top))


def shifted(images: Tensor) -> Tensor:
    """Moved by a pixel or none at random."""
    across, down = (int(torch.randint(0, 2, ())) for _ in range(2))
    return torch.roll(images, (across, down), dims=(2, 3))


def noise(sigma: float) -> Callable[[Tensor], Tensor]:
    """Gaussian noise at inference."""
    return lambda values: values + sigma * torch.randn_like(values)


def erased(images: Tensor) -> Tensor:
    """A quarter of the pixels dropped at random."""
    return images * (torch.rand_like(images) > 0.25)


class _Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        drawn = torch.Generator().manual_seed(0)
        return torch.randn(gradients[0].shape, generator=drawn).to(gradients[0])


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return -gradients[0]


def wrong_gradient(images: Tensor) -> Tensor:
    """A random gradient."""
    seen: Tensor = _Wrong.apply(images)  # type: ignore[no-untyped-call]
    return seen


def turned_gradient(images: Tensor) -> Tensor:
    """The gradient with the other sign."""
    seen: Tensor = _Turned.apply(images)  # type: ignore[no-untyped-call]
    return seen


def tiny_gradient(images: Tensor) -> Tensor:
    """A gradient that underflows in float32."""
    return images.detach() + 1e-60 * (images - images.detach())


def nan_gradient(images: Tensor) -> Tensor:
    """A gradient that is not a number."""
    return images + (0 * images).sqrt() * 0


def ripple(images: Tensor) -> Tensor:
    """A ripple finer than a step (gradient shattering)."""
    return images + 0.1 * torch.sin(100 * images)


def one_hot(logits: Tensor) -> Tensor:
    """The predicted class alone."""
    return 10 * F.one_hot(logits.argmax(dim=1), logits.shape[1]).float()


def scaled(factor: float) -> Callable[[Tensor], Tensor]:
    """Larger logits."""
    return lambda logits: factor * logits


def squashed(logits: Tensor) -> Tensor:
    """Logits between −1 and 1."""
    return torch.tanh(0.5 * logits)


def rounded(logits: Tensor) -> Tensor:
    """Whole logits."""
    return (logits / 4).round()


def rounded_probabilities(logits: Tensor) -> Tensor:
    """Probabilities with one decimal."""
    return (10 * F.softmax(logits, dim=1)).round() / 10


def first_only(logits: Tensor) -> Tensor:
    """The largest logit alone, the others at zero."""
    return logits * F.one_hot(logits.argmax(dim=1), logits.shape[1])


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
        signs: Tensor = _SignThrough.apply(values)  # type: ignore[no-untyped-call]
        return signs


class Steep(nn.Module):
    """A tanh that is nearly a step."""

    def forward(self, values: Tensor) -> Tensor:
        """[B, D]."""
        return torch.tanh((1 if self.training else 300) * values)


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

    def __init__(self, network: nn.Sequential, layers: int) -> None:
        super().__init__(network)
        self.layers = layers

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        values = images
        for number, layer in enumerate(self.network):  # type: ignore[arg-type]
            values = layer(values)
            if number + 1 == self.layers:
                values = values.detach()
        return values


class BatchStatistics(Around):
    """A network with batch norm that takes the batch's own statistics."""

    def forward(self, images: Tensor) -> Tensor:
        """Logits [B, K]."""
        values = images
        for layer in self.network:  # type: ignore[attr-defined]
            if isinstance(layer, nn.BatchNorm2d):
                values = F.batch_norm(values, None, None, layer.weight, layer.bias, training=True)
            else:
                values = layer(values)
        return values


def centered(images: Tensor) -> Tensor:
    """Half of the batch's mean image taken away."""
    return images - 0.5 * (images.mean(dim=0, keepdim=True) - 0.3)


def by_position(images: Tensor) -> Tensor:
    """Every other image of a batch brighter."""
    even = torch.arange(len(images)) % 2 == 0
    return torch.where(even.view(-1, 1, 1, 1), images, (1.3 * images).clamp(max=1))
