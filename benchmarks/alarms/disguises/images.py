"""What a network does to the images first: it rounds, moves or filters them, adds noise, or breaks gradients."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, median_filter
from torch import Tensor
from torch.nn import functional as F


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


def noisy_levels(count: int, sigma: float) -> Callable[[Tensor], Tensor]:
    """Gaussian noise, then so many gray levels by rounding."""
    return lambda images: levels(count)(noise(sigma)(images))


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
    seen: Tensor = _Wrong.apply(images)
    return seen


def turned_gradient(images: Tensor) -> Tensor:
    """The gradient with the other sign."""
    seen: Tensor = _Turned.apply(images)
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


def centered(images: Tensor) -> Tensor:
    """Half of the batch's mean image taken away."""
    return images - 0.5 * (images.mean(dim=0, keepdim=True) - 0.3)


def by_position(images: Tensor) -> Tensor:
    """Every other image of a batch brighter."""
    even = torch.arange(len(images)) % 2 == 0
    return torch.where(even.view(-1, 1, 1, 1), images, (1.3 * images).clamp(max=1))
