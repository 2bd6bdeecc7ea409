"""Compare the gradient of a network with finite differences of its output, which need no gradient."""

import torch
from torch import Tensor

from bench.core.checks import images_per_pass
from bench.core.classifier import AnyClassifier
from bench.core.gradients import input_gradient
from bench.core.guards import frozen

#: Images are moved by uniform noise of this size first, away from the ties of pixels that are exactly equal.
NOISE = 0.02
#: Half the distance between two points whose outputs are compared; then half of that, and a quarter.
STEP = 1e-3
#: The three finite differences may vary by so much of the largest. More says that they cross a kink or a step, or
#: are rounding, and tell nothing about the gradient.
SPREAD = 0.05


def gradient_errors(
    classifier: AnyClassifier, images: Tensor, generator: torch.Generator, batch_size: int
) -> Tensor:
    """How far the slope that the gradient promises is from the slope of the output, for each image.

    Both are those of f = Z_a − Z_b, the two largest logits at the image, along random signs u: ⟨∇f, u⟩ and
    (f(x + h·u) − f(x − h·u)) / 2h. They differ where the backward pass is not that of the forward pass.

    Args:
        classifier: in eval mode; it should be deterministic, and an image's logits should be its own.
        images: float32 [n, C, H, W] in [0, 1]; every point that is asked for stays in there.
        generator: of noise and directions.
        batch_size: images per pass, at most.

    Returns:
        float64 [n], the difference of the two relative to the larger one, from 0 to 2; NaN where finite differences
        are zero, or those of three lengths disagree.
    """
    size = images_per_pass(images, batch_size)
    with frozen(classifier):
        parts = [_errors(classifier, some, generator) for some in images.split(size)]
    return torch.cat(parts)


def _errors(classifier: AnyClassifier, images: Tensor, generator: torch.Generator) -> Tensor:
    noise = 2 * torch.rand(images.shape, generator=generator).to(images) - 1
    signs = 2 * torch.randint(2, images.shape, generator=generator).to(images) - 1
    points = images.clamp(NOISE + STEP, 1 - NOISE - STEP) + NOISE * noise
    with torch.enable_grad():
        traced = points.detach().requires_grad_()
        logits = classifier(traced)
        pair = logits.detach().topk(2, dim=1).indices
        gradient = input_gradient(_difference(logits, pair), traced)
    promised = (gradient.double() * signs).flatten(1).sum(dim=1)
    with torch.no_grad():
        slopes = torch.stack([_slope(classifier, points, signs, pair, STEP / part) for part in (1, 2, 4)])
    slope, largest = slopes[0], slopes.abs().amax(dim=0)
    told = (largest > 0) & (slopes.amax(dim=0) - slopes.amin(dim=0) <= SPREAD * largest)
    errors = (promised - slope).abs() / torch.maximum(promised.abs(), slope.abs()).clamp_min(1e-300)
    return torch.where(told, errors, torch.nan)


def _slope(classifier: AnyClassifier, points: Tensor, signs: Tensor, pair: Tensor, step: float) -> Tensor:
    ahead, behind = points + step * signs, points - step * signs
    return (_difference(classifier(ahead), pair) - _difference(classifier(behind), pair)) / (2 * step)


def _difference(logits: Tensor, pair: Tensor) -> Tensor:
    own, other = logits.double().gather(1, pair).unbind(dim=1)
    return own - other
