"""Steps of projected gradient ascent, and the inner maximization of adversarial training."""

from contextlib import nullcontext
from typing import Literal

import torch
from torch import Tensor

from bench.attacks.losses import LOSSES
from bench.core.classifier import AnyClassifier
from bench.core.gradients import input_gradient
from bench.core.guards import evaluating, frozen, random_state_kept
from bench.core.threat import Threat

StepSize = Literal["auto", "paper"] | float


def step_length(step_size: StepSize, steps: int, threat: Threat) -> float:
    """The length α of one step, in units of pixels in [0, 1].

    "auto" is 2.5·ε/steps, and ε for a single step (FGSM); "paper" is 2/255, which cannot reach the
    surface of the ball from its center if steps·2/255 < ε; a number is used as it is.
    """
    if step_size == "auto":
        return threat.radius if steps == 1 else 2.5 * threat.radius / steps
    return 2 / 255 if step_size == "paper" else float(step_size)


def ascend(points: Tensor, gradient: Tensor, origin: Tensor, threat: Threat, length: float) -> Tensor:
    """One projected step of steepest ascent: α·sign(g) for ℓ∞, α·g/‖g‖₂ for ℓ2; all [B, C, H, W].

    A point with a zero gradient stays where it is. Source: Madry et al. 2018, section 2.1.
    """
    direction = gradient.sign() if threat.norm == "linf" else normalized(gradient)
    return threat.project(points + length * direction, origin)


def normalized(vectors: Tensor) -> Tensor:
    """v/‖v‖₂ for each of [B, C, H, W]; zero stays zero."""
    # Scale by the largest entry first: squares of a saturated network's gradient underflow in float32.
    tiny = torch.finfo(vectors.dtype).tiny
    scaled = vectors / vectors.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(tiny)
    return scaled / scaled.square().sum(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(tiny)


def maximise(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    generator: torch.Generator,
    *,
    steps: int,
    step_size: StepSize = "auto",
    loss: str = "ce",
    random_start: bool = True,
    mode: Literal["eval", "train"] = "eval",
) -> Tensor:
    """The inner maximization of adversarial training: the last iterate of every image [B, C, H, W].

    All images take all steps, and no iterate is classified. Inputs are not checked: a check would wait for the
    device at every training step.

    Args:
        classifier: its modes, gradients and flags are left unchanged.
        images, labels: one training batch, float32 [B, C, H, W] in [0, 1] and int64 [B].
        threat: the ball.
        generator: source of the random start.
        steps, step_size, random_start: as in `Attack`.
        loss: a name of `LOSSES`.
        mode: "eval" attacks in eval mode; "train" leaves every module's mode as it is, so that batch norm
            also moves its running statistics.

    Source: Madry et al. 2018, equation 2.1.
    """
    objective, length = LOSSES[loss], step_length(step_size, steps, threat)
    points = threat.random_start(images, generator) if random_start else images
    with (
        evaluating(classifier) if mode == "eval" else nullcontext(),
        frozen(classifier),
        random_state_kept(),
        torch.enable_grad(),
    ):
        for _ in range(steps):
            points = points.detach().requires_grad_()
            gradient = input_gradient(objective(classifier(points), labels), points)
            points = ascend(points.detach(), gradient, images, threat, length)
    return points
