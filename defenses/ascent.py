"""Inner maximisations whose target is no function of logits and labels alone."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from bench.attacks.pgd import ascend
from bench.core.classifier import Classifier
from bench.core.gradients import input_gradient
from bench.core.guards import evaluating, random_state_kept
from bench.core.threat import Threat

AttackMode = Literal["eval", "train"]


@contextmanager
def attacking(classifier: Classifier, mode: AttackMode = "eval") -> Iterator[None]:
    """The frame of an attack inside training: its mode, gradients on, global random state put back."""
    with (
        evaluating(classifier) if mode == "eval" else nullcontext(),
        random_state_kept(),
        torch.enable_grad(),
    ):
        yield


def climb(
    value: Callable[[Tensor], Tensor],
    start: Tensor,
    origin: Tensor,
    threat: Threat,
    steps: int,
    length: float,
) -> Tensor:
    """The last iterate [B, C, H, W] of projected steepest ascent on `value`.

    Args:
        value: points [B, C, H, W] to what each image raises, [B].
        start, origin: [B, C, H, W]; where to begin, and the centre of the ball.
        threat: the ball.
        steps, length: how many steps, and how long each is in pixels.
    """
    points = start
    for _ in range(steps):
        points = points.detach().requires_grad_()
        gradient = input_gradient(value(points), points)
        points = ascend(points.detach(), gradient, origin, threat, length)
    return points


def near(images: Tensor, generator: torch.Generator, scale: float = 1e-3) -> Tensor:
    """Images moved by N(0, scale²) and cut to the pixel box: where TRADES and MART start their attack."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device)
    return (images + scale * noise.to(images)).clamp(0, 1)


def surrogate_length(step_size: Literal["auto"] | float, steps: int, threat: Threat) -> float:
    """The step α of TRADES and MART in pixels: "auto" is 2.23125·ε/steps, .007 for ten steps at ε = 8/255."""
    return 0.007 * 255 / 8 * 10 * threat.radius / steps if step_size == "auto" else step_size
