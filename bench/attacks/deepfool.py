"""DeepFool (ℓ2): move to the nearest decision boundary, in steps that linearize the network.

Numbers in the comments are the steps of algorithm 2 of the paper:

(1) Stop where the predicted class differs from the clean one.
(2) Take w'_k = ∇f_k(xᵢ) − ∇f_k̂(xᵢ) and f'_k = f_k(xᵢ) − f_k̂(xᵢ) for the other classes k, k̂ the clean class.
(3) Find the class l with the least |f'_k| / ‖w'_k‖₂.
(4) Step by rᵢ = |f'_l| / ‖w'_l‖₂² · w'_l.
(5) Add it to the perturbation, and repeat from (1).

We depart from the paper in four points:

(a) Every iterate includes the overshoot, as in the authors' code, so that the attack ends on the first iterate
    across the boundary. The paper multiplies the sum of the steps by 1 + η at the end.
(b) The classes k are the `candidates` largest clean logits, as in the authors' code, instead of all of them.
(c) With targets, l is the target, and the class predicted at xᵢ takes the place of the clean one.
(d) With `clip`, iterates stay in the pixel box, and a step leaves out the pixels at its bounds that it would push
    outside.

Source: Moosavi-Dezfooli, Fawzi & Frossard 2016, DeepFool, algorithm 2.
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

#: Extra length of a targeted step (ℓ2, as in the authors' code). Without it, the steps would shrink towards a
#: corner of the target's region, between two other regions, and never enter it.
CORNER = 1e-4
#: A pixel this close to 0 or 1 counts as equal to it, since rounding may leave it slightly inside.
EDGE = 1e-6


@dataclass
class DeepFoolResult:
    """The perturbation that reaches the boundary, for every image.

    Attributes:
        perturbation: r(x) [B, C, H, W], overshoot included; the last one tried where none succeeds.
        perturbed: x + r(x).
        labels: int64 [B]; the class predicted at x + r(x).
        clean_labels: int64 [B]; the class predicted at x.
        found: bool [B]; whether the predicted class changed, or became the target.
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
    """Find a small perturbation that changes the predicted class: r(x) = (1 + η) Σ_i r_i.

    r_i = |f'_l| / ‖w'_l‖² · w'_l. At the iterate x + (1 + η) Σ_{j<i} r_j, f'_k is the logit of class k minus that
    of the clean class, and w'_k is its gradient; l minimizes |f'_k| / ‖w'_k‖ over k.

    With `targets`, l is the target, the currently predicted class takes the place of the clean one, and every step
    is longer by 1e-4. With `clip`, a step leaves out the pixels at a bound of [0, 1] that it would push outside.
    Its length is computed from the remaining pixels, since the linearized f' would not reach zero otherwise.

    Args:
        classifier: attacked in eval mode, and left exactly as it was found.
        images: float32 [B, C, H, W]; they may leave the pixel box, unless `clip` is set.
        targets: int64 [B], the class to reach; r = 0 for an image that is already predicted as its target.
        candidates: number of largest clean logits whose classes are considered, the predicted class included.
        overshoot: η; a linear step ends on the boundary, and the overshoot moves it across.
        max_iter: the largest number of steps.
        clip: keep every iterate in [0, 1]; without it, x + r may leave the pixel box.
        batch_size: images per pass.

    Raises:
        UserError: for unusable images or targets, fewer than 2 candidates, or a network that gives no finite
            logits [B, K].
    """
    check_inputs(classifier, images, targets=targets, box=clip)
    check_batch_size(batch_size)
    if candidates < 2:
        raise UserError(f"DeepFool needs at least 2 candidate classes, got {candidates}")
    walk = _Walk(classifier, images.detach(), targets, candidates, overshoot, clip)
    everything = torch.arange(len(images), device=images.device)
    with evaluating(classifier), random_state_kept(), torch.enable_grad(), counting(classifier) as passes:
        for rows in everything.split(batch_size):
            walk.attack(rows, max_iter)
    perturbed = walk.iterate(everything)
    perturbation = perturbed - walk.images if clip else (1 + overshoot) * walk.total
    return DeepFoolResult(
        perturbation,
        perturbed,
        walk.labels,
        walk.clean_labels,
        walk.found,
        passes.forwards,
        passes.backwards,
    )


class _Walk:
    """The iterates of all images.

    Attributes:
        total: Σ r_i up to now [B, C, H, W].
        labels, clean_labels: int64 [B]; the classes predicted at the iterate and at the image.
        found: bool [B].
        rivals: int64 [B, R]; the classes k, or only the target.
    """

    def __init__(
        self,
        classifier: AnyClassifier,
        images: Tensor,
        targets: Tensor | None,
        candidates: int,
        overshoot: float,
        clip: bool,
    ) -> None:
        self.classifier, self.images, self.targets = classifier, images, targets
        self.overshoot, self.clip = overshoot, clip
        self.total = torch.zeros_like(images)
        self.labels = torch.zeros(len(images), dtype=torch.int64, device=images.device)
        self.clean_labels, self.found = self.labels.clone(), self.labels.bool()
        count = min(candidates, classifier.num_classes) - 1
        self.rivals = self.labels.new_zeros(len(images), count) if targets is None else targets[:, None]

    def iterate(self, rows: Tensor) -> Tensor:
        """The current iterates x + (1 + η) Σ r_i of these images."""
        points = self.images[rows] + (1 + self.overshoot) * self.total[rows]
        return points.clamp(0.0, 1.0) if self.clip else points

    def attack(self, rows: Tensor, max_iter: int) -> None:
        """Attack one batch until each image has crossed a boundary or can take no further step."""
        active = rows
        for iteration in range(max_iter + 1):
            points = self.iterate(active).requires_grad_()
            logits = check_logits(self.classifier(points), len(points), self.classifier.num_classes)
            predicted = logits.detach().argmax(dim=1)
            if iteration == 0:
                check_finite(logits)
                self.clean_labels[active] = predicted
                if self.targets is None:
                    self.rivals[active] = runners_up(logits, predicted, self.rivals.shape[1])
            # (1) Stop where the class has changed. With a nearly flat network a step can be so long that the logits
            # overflow, which does not count as found.
            finite = logits.isfinite().all(dim=1)
            changed = (
                predicted != self.clean_labels[active]
                if self.targets is None
                else predicted == self.targets[active]
            )
            self.labels[active], self.found[active] = predicted, changed & finite
            goes_on = finite & ~changed
            if iteration == max_iter or not bool(goes_on.any()):
                return
            # (2) to (4), with departure (c).
            own = self.clean_labels[active] if self.targets is None else predicted
            beyond = 0.0 if self.targets is None else CORNER
            step = linear_step(logits, points, own, self.rivals[active], beyond, boxed=self.clip)
            goes_on &= ~is_zero(step)
            active = active[goes_on]
            # (5) Add the step.
            self.total[active] += step[goes_on]
            if self.clip:
                # Departure (d): drop the part outside the box. Otherwise a pixel would return into the box only
                # after moving back by as much.
                self.total[active] = (self.iterate(active) - self.images[active]) / (1 + self.overshoot)
            if len(active) == 0:
                return


def runners_up(logits: Tensor, predicted: Tensor, count: int) -> Tensor:
    """The classes with the largest logits besides the predicted one: int64 [B, count]."""
    return logits.detach().scatter(1, predicted.unsqueeze(1), -torch.inf).topk(count, dim=1).indices


def linear_step(
    logits: Tensor, points: Tensor, own: Tensor, rivals: Tensor, beyond: float, *, boxed: bool = False
) -> Tensor:
    """|f'_l| / ‖w'_l‖² · w'_l for the nearest rival l [B, C, H, W]; zero where the gradient vanishes.

    All gradients come from the graph of one forward pass; see `input_gradients`.

    Args:
        logits: [B, K], with the graph that leads to `points`.
        points: [B, C, H, W], requiring a gradient.
        own: int64 [B], the class to leave.
        rivals: int64 [B, R], the classes k.
        beyond: length of the step beyond the boundary, in units of pixels (ℓ2).
        boxed: leave out of w' the pixels at 0 or 1 that the step would push outside.
    """
    # (2) f'_k here, w'_k in the loop.
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
        # (3) Keep the nearest rival so far. With a zero gradient the distance is infinite or NaN and is never
        # nearer.
        distance = distances[:, column] / length
        nearer = distance < nearest
        nearest = torch.where(nearer, distance, nearest)
        # (4) Step to its boundary, and `beyond` further.
        unit = gradient / length.to(gradient).view(-1, 1, 1, 1)
        way = (distance + beyond).to(gradient).view(-1, 1, 1, 1)
        step = torch.where(nearer.view(-1, 1, 1, 1), way * unit, step)
    return step.detach()
