"""DeepFool (ℓ2): the way to the nearest decision boundary, in steps that treat the network as linear.

Source: Moosavi-Dezfooli, Fawzi & Frossard 2016, DeepFool, algorithm 2. As in the authors' code, every iterate
carries the overshoot, so that the walk ends on the first one across.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.core.checks import check_batch_size, check_finite, check_inputs, check_logits
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.gradients import input_gradients, is_zero
from bench.core.guards import evaluating, random_state_kept
from bench.core.passes import counting

#: A targeted step goes this much further (ℓ2, as in the authors' code): between two other regions the steps would
#: shrink towards the corner of the target's and never enter it.
CORNER = 1e-4
#: A pixel this near to 0 or 1 stands there: rounding may leave it a little inside.
EDGE = 1e-6


@dataclass
class DeepFoolResult:
    """The way to the boundary, for every image.

    Attributes:
        perturbation: r(x) [B, C, H, W], overshoot included; as far as it came where nothing was found.
        perturbed: x + r(x).
        labels: int64 [B]; what the classifier says there.
        clean_labels: int64 [B]; what it says of x.
        found: bool [B]; the label changed, or became the target.
        forwards, backwards: passes through the network, in images.
    """

    perturbation: Tensor
    perturbed: Tensor
    labels: Tensor
    clean_labels: Tensor
    found: Tensor
    forwards: int
    backwards: int


def deepfool(
    classifier: AnyClassifier,
    images: Tensor,
    *,
    targets: Tensor | None = None,
    candidates: int = 10,
    overshoot: float = 0.02,
    max_iter: int = 50,
    clip: bool = False,
    batch_size: int = 500,
) -> DeepFoolResult:
    """A small perturbation that changes the predicted class: r(x) = (1 + η) Σ_i r_i.

    r_i = |f'_l| / ‖w'_l‖² · w'_l, where f'_k and w'_k are the difference between the logits of class k and of
    the clean class at x + (1 + η) Σ_{j<i} r_j, and its gradient; l minimizes |f'_k| / ‖w'_k‖ over k. With
    `targets`, l is the target, the class now predicted takes the place of the clean one, and every step is
    longer by 1e-4. With `clip`, a step leaves out the pixels that stand at the end of [0, 1] it points across,
    so that its length is that of the way along the others: f' would not reach zero otherwise. That is ours; the
    paper does not clip.

    Args:
        classifier: attacked in eval mode, and left exactly as it was found.
        images: float32 [B, C, H, W]; points outside the pixel box will do too, unless `clip` is set.
        targets: int64 [B], the class to arrive in; an image already there gets r = 0.
        candidates: how many of the largest clean logits take part, the predicted one included.
        overshoot: η; the linear step ends on the boundary, and this carries it across.
        max_iter: steps at most.
        clip: keep every iterate in [0, 1]; without it x + r may leave the pixel box.
        batch_size: images per pass.

    Raises:
        UserError: for unusable images or targets, fewer than 2 candidates, or a network that gives no finite
            logits [B, K].
    """
    check_inputs(classifier, images, targets=targets, box=clip)
    check_batch_size(batch_size)
    if candidates < 2:
        raise UserError(f"DeepFool needs at least 2 candidate classes, got {candidates}")
    images, size, num_classes = images.detach(), len(images), classifier.num_classes
    total = torch.zeros_like(images)  # Σ r_i
    labels = torch.zeros(size, dtype=torch.int64, device=images.device)
    clean_labels, found = labels.clone(), labels.bool()
    rivals = labels.new_zeros(size, min(candidates, num_classes) - 1) if targets is None else targets[:, None]

    def place(rows: Tensor) -> Tensor:
        points = images[rows] + (1 + overshoot) * total[rows]
        return points.clamp(0.0, 1.0) if clip else points

    with evaluating(classifier), random_state_kept(), torch.enable_grad(), counting(classifier) as passes:
        for active in torch.arange(size, device=images.device).split(batch_size):
            for iteration in range(max_iter + 1):
                points = place(active).requires_grad_()
                logits = check_logits(classifier(points), len(points), num_classes)
                predicted = logits.detach().argmax(dim=1)
                if iteration == 0:
                    check_finite(logits)
                    clean_labels[active] = predicted
                    if targets is None:
                        rivals[active] = runners_up(logits, predicted, rivals.shape[1])
                # A nearly flat network can send a point so far that its logits overflow: that is no finding.
                finite = logits.isfinite().all(dim=1)
                there = predicted != clean_labels[active] if targets is None else predicted == targets[active]
                labels[active], found[active] = predicted, there & finite
                goes_on = finite & ~there
                if iteration == max_iter or not bool(goes_on.any()):
                    break
                own = clean_labels[active] if targets is None else predicted
                beyond = 0.0 if targets is None else CORNER
                step = linear_step(logits, points, own, rivals[active], beyond, boxed=clip)
                goes_on &= ~is_zero(step)
                active = active[goes_on]
                total[active] += step[goes_on]
                if clip:
                    # What the box cuts off is forgotten, or a pixel could come back only after as long a way.
                    total[active] = (place(active) - images[active]) / (1 + overshoot)
                if len(active) == 0:
                    break
    perturbed = place(torch.arange(size, device=images.device))
    perturbation = perturbed - images if clip else (1 + overshoot) * total
    return DeepFoolResult(
        perturbation, perturbed, labels, clean_labels, found, passes.forwards, passes.backwards
    )


def runners_up(logits: Tensor, predicted: Tensor, count: int) -> Tensor:
    """The classes with the largest logits besides the predicted one: int64 [B, count]."""
    return logits.detach().scatter(1, predicted.unsqueeze(1), -torch.inf).topk(count, dim=1).indices


def linear_step(
    logits: Tensor, points: Tensor, own: Tensor, rivals: Tensor, beyond: float, *, boxed: bool = False
) -> Tensor:
    """|f'_l| / ‖w'_l‖² · w'_l for the nearest rival l [B, C, H, W]; zero where the network is flat.

    All gradients come from the graph of one forward pass; see `input_gradients`.

    Args:
        logits: [B, K], with the graph that leads to `points`.
        points: [B, C, H, W], requiring a gradient.
        own: int64 [B], the class to leave.
        rivals: int64 [B, R], the classes to look at.
        beyond: how much longer than the way to the boundary, in units of pixels (ℓ2).
        boxed: leave those pixels out of w' that stand at 0 or 1 and would go further.
    """
    differences = logits.gather(1, rivals) - logits.gather(1, own.unsqueeze(1))
    distances = differences.detach().abs()
    nearest = torch.full_like(logits[:, 0], torch.finfo(points.dtype).max, dtype=torch.float64)
    step = torch.zeros_like(points)
    low, high = points.detach() <= EDGE, points.detach() >= 1 - EDGE
    for column, gradient in enumerate(input_gradients(differences, points, keep_graph=True)):
        if boxed:
            gradient = gradient.masked_fill((low & (gradient < 0)) | (high & (gradient > 0)), 0.0)
        # In float64: squares of small gradients underflow in float32.
        length = torch.linalg.vector_norm(gradient.flatten(1), dim=1, dtype=torch.float64)
        distance = distances[:, column] / length
        nearer = distance < nearest  # false for a flat rival, whose distance is infinite or NaN
        nearest = torch.where(nearer, distance, nearest)
        unit = gradient / length.to(gradient).view(-1, 1, 1, 1)
        way = (distance + beyond).to(gradient).view(-1, 1, 1, 1)
        step = torch.where(nearer.view(-1, 1, 1, 1), way * unit, step)
    return step.detach()
