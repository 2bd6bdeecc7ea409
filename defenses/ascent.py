"""Inner maximizations of objectives that depend on more than logits and labels."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from bench.attacks.steps import ascend
from bench.core.classifier import Classifier
from bench.core.gradients import input_gradient
from bench.core.guards import evaluating, frozen, random_state_kept
from bench.core.threat import Threat

AttackMode = Literal["eval", "train"]


@contextmanager
def attacking(classifier: Classifier, mode: AttackMode = "eval") -> Iterator[None]:
    """Run an attack during training: in its mode, with gradients of images alone and the random state restored.

    Args:
        classifier: in training mode.
        mode: "eval" attacks with batch norm on its running statistics, "train" leaves the modes as they are.
    """
    with (
        evaluating(classifier) if mode == "eval" else nullcontext(),
        frozen(classifier),
        random_state_kept(),
        torch.enable_grad(),
    ):
        yield


def steepest_ascent(
    value: Callable[[Tensor], Tensor],
    start: Tensor,
    origin: Tensor,
    threat: Threat,
    steps: int,
    length: float,
) -> Tensor:
    """The last iterate [B, C, H, W] of projected steepest ascent on `value`.

    Args:
        value: from points [B, C, H, W] to the value that each image maximizes, [B].
        start: first iterate [B, C, H, W].
        origin: centers of the balls [B, C, H, W].
        threat: norm and radius of the balls.
        steps: number of steps.
        length: length of a step in pixel units.
    """
    points = start
    for _ in range(steps):
        points = points.detach().requires_grad_()
        gradient = input_gradient(value(points), points)
        points = ascend(points.detach(), gradient, origin, threat, length)
    return points


def surrogate_attack(
    value: Callable[[Tensor], Tensor],
    images: Tensor,
    threat: Threat,
    step_size: Literal["auto"] | float,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """The attack of TRADES and MART: steepest ascent on `value` from x + N(0, .001²), [B, C, H, W].

    Args:
        value, threat, steps: as for `steepest_ascent`.
        images: [B, C, H, W].
        step_size: as for `surrogate_step_length`.
        generator: draws the start.
    """
    start = gaussian_start(images, generator)
    return steepest_ascent(
        value, start, images, threat, steps, surrogate_step_length(step_size, steps, threat)
    )


def gaussian_start(images: Tensor, generator: torch.Generator, scale: float = 1e-3) -> Tensor:
    """Images plus N(0, scale²) noise, clipped to [0, 1]."""
    noise = torch.randn(images.shape, generator=generator, device=generator.device)
    return (images + scale * noise.to(images)).clamp(0, 1)


def surrogate_step_length(step_size: Literal["auto"] | float, steps: int, threat: Threat) -> float:
    """The step length of TRADES and MART: "auto" is 2.23125·ε/steps, which is .007 for ten steps at ε = 8/255."""
    return 0.007 * 255 / 8 * 10 * threat.radius / steps if step_size == "auto" else step_size
