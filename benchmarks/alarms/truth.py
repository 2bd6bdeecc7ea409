"""What is left of a network under attacks that know its disguise: the truth a reported worst case is compared with.

Nothing here uses the attacks or the checks of the battery: the loop, the losses and the rule by which an image is
broken are written anew, and the gradients come from networks that were made for each case by hand (`smooth`). What
is shared is torch, the weights, the images, and the definition of the threat.

The strongest of these, image by image:

- the network's own gradient, and those of `smooth`, in float64, averaged over passes where the output is random;
- transfer from networks of three other seeds, and of another kind;
- long runs from many random starts.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bench.core.guards import random_state_kept
from bench.core.threat import Threat

#: Passes of which most decide, for a stochastic network; passes whose gradients are averaged.
VOTES, MEAN = 65, 10
#: Passes that confirm it, drawn anew: of some fifty votes on an image at the boundary, one is lucky.
CONFIRM = 401
#: Starts of each gradient, and steps from each.
STARTS, STEPS, RANDOM_STEPS = 6, 80, 40


def true_accuracy(
    network: nn.Module,
    others: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    threat: Threat,
) -> Tensor:
    """Which images stay right under every one of the attacks: bool [n].

    Args:
        network: of the zoo; `smooth` gives networks to differentiate, where it has it.
        others: networks of other seeds, for transfer.
        images, labels: float32 [n, C, H, W] and int64 [n].
        threat: norm and ε.
    """
    with random_state_kept(1):
        random, alone = _is_random(network, images), _depends_on_batch(network, images)

        def wrong(points: Tensor, classes: Tensor) -> Tensor:
            found = _classes(network, points, VOTES if random else 1, alone) != classes
            if random and bool(found.any()):
                found[found.clone()] = _classes(network, points[found], CONFIRM, alone) != classes[found]
            return found

        right = ~wrong(images, labels)
        own: list[nn.Module] = getattr(network, "smooth", list)()
        for guide in [network, *own, *others]:
            average = MEAN if random and guide is network else 1
            steps = RANDOM_STEPS if random else STEPS
            for start in range(1 if average > 1 else STARTS):
                rows = right.nonzero().squeeze(1)
                if len(rows) == 0:
                    return right
                logits = _in_float64(guide, alone and guide is network, images)
                broken = _ascend(
                    logits, wrong, images[rows], labels[rows], threat, steps, average, bool(start % 2)
                )
                right[rows[broken]] = False
    return right


def _ascend(
    logits: Callable[[Tensor], Tensor],
    wrong: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    labels: Tensor,
    threat: Threat,
    steps: int,
    average: int,
    cross_entropy: bool,
) -> Tensor:
    """Ascent with momentum on the difference of two logits, or on the cross-entropy; steps shrink as a cosine."""
    linf, eps = threat.norm == "linf", threat.radius
    base, broken = images.double(), torch.zeros(len(images), dtype=torch.bool)
    noise = torch.rand_like(base) * 2 - 1 if linf else torch.randn_like(base)
    points = _inside(base + (eps * noise if linf else eps * noise / _length(noise)), base, eps, linf)
    velocity = torch.zeros_like(base)
    for step in range(steps):
        traced = points.detach().requires_grad_()
        values = sum((logits(traced) for _ in range(average)), torch.zeros(())) / average
        own = values.gather(1, labels[:, None]).squeeze(1)
        if cross_entropy:
            loss = values.logsumexp(dim=1) - own
        else:
            loss = values.scatter(1, labels[:, None], -torch.inf).amax(dim=1) - own
        gradient = _gradient(loss, traced)
        velocity = 0.75 * velocity + gradient / _length(gradient)
        size = 2 * eps * (0.02 + 0.49 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item())) * 0.2
        move = velocity.sign() if linf else velocity / _length(velocity)
        points = _inside(points + size * move, base, eps, linf)
        if step % 10 == 9 or step == steps - 1:
            real = points.float()
            broken |= threat.allows(real, images) & wrong(real, labels)
            if bool(broken.all()):
                break
    return broken


def _gradient(loss: Tensor, points: Tensor) -> Tensor:
    if not loss.requires_grad:
        return torch.zeros_like(points)
    (gradient,) = torch.autograd.grad(loss.sum(), points, allow_unused=True)
    return torch.zeros_like(points) if gradient is None else gradient.nan_to_num(nan=0.0)


def _length(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1).clamp_min(1e-300).view(-1, 1, 1, 1)


def _inside(points: Tensor, base: Tensor, eps: float, linf: bool) -> Tensor:
    delta = points - base
    delta = delta.clamp(-eps, eps) if linf else delta * (eps / _length(delta)).clamp_max(1.0)
    return (base + delta).clamp(0, 1).detach()


def _in_float64(network: nn.Module, alone: bool, images: Tensor) -> Callable[[Tensor], Tensor]:
    """The network in float64 where it can, in float32 where it casts."""
    weights = {
        name: value.double() if value.is_floating_point() else value
        for name, value in network.state_dict().items()
    }

    def double(points: Tensor) -> Tensor:
        logits: Tensor = functional_call(network, weights, (points,))
        return logits

    def single(points: Tensor) -> Tensor:
        logits: Tensor = network(points.float())
        return logits.double()

    try:
        double(images[:2].double())
        chosen = double
    except RuntimeError:
        chosen = single
    if not alone:
        return chosen
    return lambda points: torch.cat([chosen(point) for point in points.split(1)])


@torch.no_grad()
def _classes(network: nn.Module, images: Tensor, votes: int, alone: bool) -> Tensor:
    counts = torch.zeros(len(images), 10)
    for _ in range(votes):
        logits = torch.cat([network(some) for some in images.split(1)]) if alone else network(images)
        counts[torch.arange(len(images)), logits.argmax(dim=1)] += 1
    return counts.argmax(dim=1)


@torch.no_grad()
def _is_random(network: nn.Module, images: Tensor) -> bool:
    return not torch.equal(network(images[:20]), network(images[:20]))


@torch.no_grad()
def _depends_on_batch(network: nn.Module, images: Tensor) -> bool:
    if _is_random(network, images):
        return False
    together, alone = network(images[:20]), torch.cat([network(image) for image in images[:20].split(1)])
    return not torch.allclose(together, alone, rtol=1e-2, atol=1e-3)
