"""Loss and decision surfaces: a function of the logits over a plane of images or of weights."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.core.checks import check_finite
from bench.core.errors import UserError, unknown_name
from bench.core.gradients import cached_rows
from bench.core.guards import evaluating, frozen, random_state_kept
from bench.core.margins import cross_entropy, decision_function
from bench.geometry.jacobian import decision_jacobian, slopes

Beta = Literal["random", "untargeted", "least_likely", "cw"]
BETAS: tuple[Beta, ...] = get_args(Beta)

#: A direction in parameter space: name of a parameter → its displacement.
Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Surface:
    """V[i, j] = F(o + i·α + j·β) for two functions F, float64 [I, J] on the CPU.

    Attributes:
        cross_entropy: in nats; in parameter space the mean over the images.
        decision: L, in logits; in parameter space the mean over the images.
    """

    cross_entropy: Tensor
    decision: Tensor


def pixel_step(channels: int) -> float:
    """The paper's step of a surface: 1/255 for color images (CIFAR), 0.05 for gray ones (MNIST)."""
    return 0.05 if channels == 1 else 1 / 255


def random_direction(images: Tensor, generator: torch.Generator) -> Tensor:
    """Random entries ±1, independent for every image [B, …]; they have the norms of a sign gradient."""
    signs = torch.randint(2, images.shape, generator=generator, device=generator.device) * 2 - 1
    return signs.to(images)


def attack_direction(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    beta: Beta,
    generator: torch.Generator,
    *,
    batch_size: int = 500,
) -> Tensor:
    """β [B, C, H, W] for every image, random signs or the sign of a gradient, oriented so that L decreases along β.

    "untargeted" raises the cross-entropy of the label, "least_likely" lowers that of the least likely class, "cw"
    lowers L itself. The paper's equation 3 mixes signs; here a β with J·β > 0 is reversed. β is zero where the
    gradient is zero. Each image takes two passes, or one for "random" and "cw".

    Args:
        classifier: used in eval mode and left as it was.
        images, labels: [B, C, H, W] and int64 [B].
        beta: the kind of direction.
        generator: source of the signs for "random".
        batch_size: images per pass.

    Raises:
        UserError: for an unknown beta.
        NotFinite: when the network gives NaN.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equation 3.
    """
    if beta not in BETAS:
        raise unknown_name("beta", beta, BETAS)
    jacobian = decision_jacobian(classifier, images, labels, batch_size=batch_size).gradient
    if beta == "cw":
        return -jacobian.sign()
    if beta == "random":
        direction = random_direction(images, generator)
    else:
        direction = _sign_gradient(classifier, images, labels, beta == "least_likely", batch_size)
    rising = (jacobian * direction).flatten(1).double().sum(dim=1) > 0
    return torch.where(rising.view(-1, *[1] * (images.dim() - 1)), -direction, direction)


def input_surface(
    classifier: nn.Module,
    image: Tensor,
    label: Tensor,
    alpha: Tensor,
    beta: Tensor,
    offsets: Tensor,
    *,
    batch_size: int = 500,
) -> Surface:
    """V[i, j] at o = x for i and j in `offsets`; points may leave the pixel box, as in the paper.

    Args:
        classifier: used in eval mode and left as it was.
        image, label: x [C, H, W] and an int64 scalar.
        alpha, beta: shaped like the image.
        offsets: i and j, in pixel units where α and β have entries ±1: float [I].
        batch_size: images per pass.

    Raises:
        NotFinite: when the network gives NaN.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equation 1.
    """
    offsets = offsets.to(image)
    along = torch.cartesian_prod(offsets, offsets)
    losses, margins = _along(classifier, image, label, torch.stack([alpha, beta]), along, batch_size)
    side = len(offsets)
    return Surface(losses.view(side, side), margins.view(side, side))


def profiles(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    betas: Tensor,
    offsets: Tensor,
    *,
    batch_size: int = 500,
) -> Tensor:
    """L(x + jβ) for every image and j in `offsets`: float64 [B, J] on the CPU.

    Args:
        classifier: used in eval mode and left as it was.
        images, labels: [B, C, H, W] and int64 [B].
        betas: β of every image [B, C, H, W].
        offsets: j [J].
        batch_size: images per pass.

    Raises:
        NotFinite: when the network gives NaN.
    """
    offsets = offsets.to(images)[:, None]
    rows = [
        _along(classifier, image, label, beta[None], offsets, batch_size)[1]
        for image, label, beta in zip(images, labels, betas, strict=True)
    ]
    return torch.stack(rows) if rows else torch.zeros(0, len(offsets), dtype=torch.double)


def first_crossing(offsets: Tensor, values: Tensor) -> Tensor:
    """The offset at which each row of values first reaches zero, linearly interpolated; ∞ where it never does.

    Args:
        offsets: ascending [J].
        values: [B, J].

    Returns:
        float64 [B]; the first offset where a row starts at or below zero.
    """
    values, offsets = values.double(), offsets.double().to(values.device)
    below = values <= 0
    first = below.double().argmax(dim=1)
    before = (first - 1).clamp_min(0)
    rows = torch.arange(len(values), device=values.device)
    high, low = values[rows, before], values[rows, first]
    share = torch.where(first > 0, high / (high - low).where(high != low, 1.0), 0.0)
    place = offsets[before] + share * (offsets[first] - offsets[before])
    return place.where(below.any(dim=1), math.inf)


def filter_normalised(classifier: nn.Module, generator: torch.Generator) -> Weights:
    """A random direction in parameter space, each filter of which has the norm of the network's own filter.

    d_f ← d_f · ‖θ_f‖ / ‖d_f‖ for every filter f (for a linear layer, a row), d Gaussian. Parameters of one
    dimension, that is biases and the scales of batch norm, do not move.

    Args:
        classifier: only read.
        generator: on the CPU; used in the order of `named_parameters`.

    Raises:
        UserError: when the network has no parameter of two dimensions or more.

    Source: Li et al. 2017, Visualizing the Loss Landscape of Neural Nets, §4 (as Yu et al., figure 2).
    """
    return {
        name: _as_long_as(
            weights, torch.randn(weights.shape, generator=generator, device=generator.device).to(weights)
        )
        for name, weights in _filters(classifier).items()
    }


def steepest(classifier: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 500) -> Weights:
    """The adversarial direction in parameter space: −∇L of the mean of L over the images, filter-normalized.

    Each filter of the gradient is scaled to the norm of the network's own, as in `filter_normalised`, so that L
    still decreases along it; a filter with a zero gradient does not move.

    Args:
        classifier: used in eval mode and left as it was.
        images, labels: [B, C, H, W] and int64 [B].
        batch_size: images per pass.

    Raises:
        UserError: when the network has no parameter of two dimensions or more.
    """
    weights = _weights(classifier)
    filters = {name: part.clone().requires_grad_() for name, part in _filters(classifier).items()}
    gradient = {name: torch.zeros_like(part) for name, part in weights.items() if name in filters}
    with evaluating(classifier), random_state_kept(0), torch.enable_grad():
        for some, own in _batches(images, labels, batch_size):
            logits = functional_call(classifier, weights | filters, (some,))
            total = decision_function(logits, own).sum()
            if total.requires_grad:
                parts = torch.autograd.grad(total, list(filters.values()), materialize_grads=True)
                for name, part in zip(filters, parts, strict=True):
                    gradient[name] += part
    return {name: -_as_long_as(weights[name], part) for name, part in gradient.items()}


def downhill(
    classifier: nn.Module, images: Tensor, labels: Tensor, direction: Weights, *, batch_size: int = 500
) -> Weights:
    """A direction in parameter space or its opposite: the one along which the mean of L over the images decreases.

    Args:
        classifier: used in eval mode and left as it was.
        images, labels: [B, C, H, W] and int64 [B].
        direction: for example from `filter_normalised`.
        batch_size: images per pass.
    """
    weights = _weights(classifier)
    slope = 0.0
    with evaluating(classifier), random_state_kept(0), torch.enable_grad():
        for some, own in _batches(images, labels, batch_size):
            move = torch.zeros((), device=images.device, requires_grad=True)
            logits = functional_call(classifier, _moved(weights, (direction, move)), (some,))
            total = decision_function(logits, own).double().sum()
            if total.requires_grad:
                slope += torch.autograd.grad(total, move)[0].item()
    return {name: -part for name, part in direction.items()} if slope > 0 else direction


def parameter_surface(
    classifier: nn.Module,
    images: Tensor,
    labels: Tensor,
    alpha: Weights,
    beta: Weights,
    offsets: Tensor,
    *,
    batch_size: int = 500,
) -> Surface:
    """V[i, j] at o = θ for i and j in `offsets`, averaged over the images.

    The moved weights are passed to the call and never written to the network, so nothing has to be restored. V is
    NaN where the logits are not finite.

    Args:
        classifier: used in eval mode and left as it was.
        images, labels: [B, C, H, W] and int64 [B], at least one.
        alpha, beta: for example from `filter_normalised`.
        offsets: i and j, float [I]; 1 moves every filter by its own norm.
        batch_size: images per pass.

    Raises:
        UserError: when there is no image.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, equation 1, figures 1a, 2.
    """
    if len(images) == 0:
        raise UserError("expected at least one image to average over, got none")
    weights, side = _weights(classifier), len(offsets)
    sums = torch.zeros(2, side, side, dtype=torch.double)
    with evaluating(classifier), random_state_kept(0), torch.no_grad():
        for row, i in enumerate(offsets.tolist()):
            for column, j in enumerate(offsets.tolist()):
                moved = _moved(weights, (alpha, i), (beta, j))
                for some, own in _batches(images, labels, batch_size):
                    logits = functional_call(classifier, moved, (some,)).double()
                    sums[0, row, column] += cross_entropy(logits, own).sum().item()
                    sums[1, row, column] += decision_function(logits, own).sum().item()
    means = (sums / len(images)).where(sums.isfinite(), math.nan)
    return Surface(means[0], means[1])


def _along(
    classifier: nn.Module, image: Tensor, label: Tensor, directions: Tensor, steps: Tensor, batch_size: int
) -> tuple[Tensor, Tensor]:
    """Cross-entropy and L at x + Σ_k steps[m, k]·directions[k], float64 [M] each on the CPU."""
    flat = directions.flatten(1)
    losses, margins = [], []
    with evaluating(classifier), random_state_kept(0), torch.no_grad():
        for some in steps.split(cached_rows(image, batch_size)):
            logits = classifier(image + (some @ flat).view(-1, *image.shape)).double()
            own = label.expand(len(some))
            losses.append(cross_entropy(logits, own).cpu())
            margins.append(decision_function(logits, own).cpu())
    check_finite(torch.cat(margins))
    return torch.cat(losses), torch.cat(margins)


def _sign_gradient(
    classifier: nn.Module, images: Tensor, labels: Tensor, least_likely: bool, batch_size: int
) -> Tensor:
    """The sign of the gradient that raises the label's cross-entropy, or lowers that of the least likely class."""
    parts = []
    with evaluating(classifier), frozen(classifier), random_state_kept(0):
        for some, own in _batches(images, labels, batch_size):
            if least_likely:
                with torch.no_grad():
                    target = classifier(some).argmin(dim=1)
                parts.append(-slopes(classifier, some, target, _others_over_own)[1].sign())
            else:
                parts.append(slopes(classifier, some, own, _others_over_own)[1].sign())
    return torch.cat(parts) if parts else torch.zeros_like(images)


def _others_over_own(logits: Tensor, labels: Tensor) -> Tensor:
    """log Σ_{k≠t} exp Z_k − Z_t = log(exp CE − 1), which increases with the cross-entropy and never saturates."""
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -math.inf)
    return (others.logsumexp(dim=1, keepdim=True) - own).squeeze(1)


def _filters(classifier: nn.Module) -> Weights:
    """The parameters of two dimensions or more, in the order of `named_parameters`."""
    filters = {name: part for name, part in _weights(classifier).items() if part.dim() >= 2}
    if not filters:
        raise UserError("expected a network with weights of two dimensions or more, found none to move")
    return filters


def _as_long_as(weights: Tensor, direction: Tensor) -> Tensor:
    """d_f · ‖θ_f‖ / ‖d_f‖ for every filter f; zero where d_f is zero."""
    lengths = direction.flatten(1).norm(dim=1)
    ratio = weights.flatten(1).norm(dim=1) / lengths.where(lengths > 0, 1.0)
    return direction * ratio.view(-1, *[1] * (weights.dim() - 1))


def _weights(classifier: nn.Module) -> Weights:
    return {name: parameter.detach() for name, parameter in classifier.named_parameters()}


def _moved(weights: Weights, *moves: tuple[Mapping[str, Tensor], float | Tensor]) -> Weights:
    """θ + Σ i·α over the named parameters."""
    moved = dict(weights)
    for direction, length in moves:
        moved |= {name: moved[name] + length * part for name, part in direction.items()}
    return moved


def _batches(images: Tensor, labels: Tensor, batch_size: int) -> Iterable[tuple[Tensor, Tensor]]:
    rows = cached_rows(images[:1], batch_size)
    return zip(images.split(rows), labels.split(rows), strict=True) if len(images) else ()
