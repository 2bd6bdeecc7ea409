"""DeepFool (ℓ2): the way to the nearest decision boundary, in steps that treat the network as linear.

Numbers in the comments are the steps of algorithm 2 of the paper:

(1) Stop where the predicted class differs from the clean one.
(2) Take w'_k = ∇f_k(xᵢ) − ∇f_k̂(xᵢ) and f'_k = f_k(xᵢ) − f_k̂(xᵢ) for the other classes k, k̂ the clean class.
(3) Find the class l with the least |f'_k| / ‖w'_k‖₂.
(4) Step by rᵢ = |f'_l| / ‖w'_l‖₂² · w'_l.
(5) Add it to the perturbation, and repeat from (1).

We depart from the paper in four points:

(a) Every iterate carries the overshoot, as in the authors' code, so that the walk ends on the first iterate across
    the boundary. The paper multiplies the sum of the steps by 1 + η at the end.
(b) The classes k are the `candidates` largest clean logits, as in the authors' code, instead of all of them.
(c) With targets, l is the target, and the class predicted at xᵢ takes the place of the clean one.
(d) With `clip`, iterates stay in the pixel box, and a step leaves out the pixels that stand at its walls.

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

#: A targeted step goes this much further (ℓ2, as in the authors' code): between two other regions the steps would
#: shrink towards the corner of the target's and never enter it.
CORNER = 1e-4
#: A pixel this near to 0 or 1 counts as standing there, since rounding may leave it a little inside.
EDGE = 1e-6


@dataclass
class DeepFoolResult:
    """The way to the boundary, for every image.

    Attributes:
        perturbation: r(x) [B, C, H, W], overshoot included; the last one where none succeeds.
        perturbed: x + r(x).
        labels: int64 [B]; the class predicted at x + r(x).
        clean_labels: int64 [B]; the class predicted at x.
        found: bool [B]; the predicted class changed, or became the target.
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

    r_i = |f'_l| / ‖w'_l‖² · w'_l, where f'_k and w'_k are the difference between the logits of class k and of
    the clean class at x + (1 + η) Σ_{j<i} r_j, and its gradient; l minimizes |f'_k| / ‖w'_k‖ over k. With
    `targets`, l is the target, the class now predicted takes the place of the clean one, and every step is
    longer by 1e-4. With `clip`, a step leaves out the pixels at the end of [0, 1] that it points across, and its
    length is that of the way along the others: f' would not reach zero otherwise.

    Args:
        classifier: attacked in eval mode, and left exactly as it was found.
        images: float32 [B, C, H, W]; they may leave the pixel box, unless `clip` is set.
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
        total: Σ r_i so far [B, C, H, W].
        labels, clean_labels: int64 [B]; predicted at the iterate and at the image.
        found: bool [B].
        rivals: int64 [B, R]; the classes k, or the target alone.
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
        """x + (1 + η) Σ r_i of these images."""
        points = self.images[rows] + (1 + self.overshoot) * self.total[rows]
        return points.clamp(0.0, 1.0) if self.clip else points

    def attack(self, rows: Tensor, max_iter: int) -> None:
        """Walk with the images of one batch until each has crossed a boundary, or cannot go on."""
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
            # (1) Stop where the class has changed. A nearly flat network can send a point so far that its logits
            # overflow: that is no finding.
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
                # Departure (d): the part outside the box is forgotten, or a pixel would come back only after an
                # equally long way.
                self.total[active] = (self.iterate(active) - self.images[active]) / (1 + self.overshoot)
            if len(active) == 0:
                return


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
        rivals: int64 [B, R], the classes k.
        beyond: how much longer than the way to the boundary, in units of pixels (ℓ2).
        boxed: leave those pixels out of w' that stand at 0 or 1 and would go further.
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
        # (3) Keep the nearest rival so far; the distance of a flat one is infinite or NaN, and not nearer.
        distance = distances[:, column] / length
        nearer = distance < nearest
        nearest = torch.where(nearer, distance, nearest)
        # (4) Its step: to the boundary, and `beyond` further.
        unit = gradient / length.to(gradient).view(-1, 1, 1, 1)
        way = (distance + beyond).to(gradient).view(-1, 1, 1, 1)
        step = torch.where(nearer.view(-1, 1, 1, 1), way * unit, step)
    return step.detach()
