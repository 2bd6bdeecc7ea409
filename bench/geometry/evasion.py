"""A detector-aware attack: it keeps images misclassified and lowers the curvature detector's score ρ.

Orthogonal projected gradient descent. Numbers in the comments are its steps:

(1) Take the input gradients of the classifier's loss, here the margin, and of the detector's score.
(2) Where the image is still classified correctly, step against the margin.
(3) Where it is misclassified, step against the score, with the component along the margin's gradient removed.
(4) Project onto the ball and the pixel box, and repeat from (1).

We depart from the paper in three points. The differentiated score is a surrogate of ρ with fewer directions, since
ρ costs hundreds of passes. The misclassified iterate with the lowest score is kept, not the last iterate. The
attack starts at an adversarial image, not at the clean one.

Source: Bryniarski et al. 2022, Evading Adversarial Example Detection Defenses with Orthogonal Projected Gradient
Descent, section 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.deepfool import runners_up
from bench.attacks.steps import normalized
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.gradients import cached_rows, input_gradient, input_gradients
from bench.core.guards import evaluating, frozen
from bench.core.margins import decision_function
from bench.core.progress import Task
from bench.geometry.curvature import step_length, unit_vectors


@dataclass(frozen=True)
class Evasion:
    """The result of the attack.

    Attributes:
        adversarial: [B, C, H, W]; the misclassified iterate with the smallest side·ρ̂, or the start where no
            iterate has a smaller value.
        surrogate: ρ̂ at that iterate, float64 [B]; NaN where it was not defined at any iterate.
    """

    adversarial: Tensor
    surrogate: Tensor


@dataclass(frozen=True)
class SurrogateValue:
    """The surrogate at B points, and the gradients that the attack needs.

    Attributes:
        predicted: k̂, int64 [B].
        score: ρ̂, float64 [B].
        gradient: ∂ρ̂/∂x [B, C, H, W].
        margin_gradient: input gradient of the decision function of the labels [B, C, H, W].
    """

    predicted: Tensor
    score: Tensor
    gradient: Tensor
    margin_gradient: Tensor


@dataclass(frozen=True)
class Surrogate:
    """ρ̂, a differentiable surrogate of the score ρ of algorithm 2, with few directions.

    ρ̂ = mean over i of (d · mean_v vᵀH_i v − nᵀH_i n) / ((d − 1)‖∇F_i‖), F_i = f_i − f_k̂, with second differences
    over ±h for vᵀHv. Its gradient treats the normals n and the lengths ‖∇F_i‖ as constants, so that one backward
    pass through the forward passes at x ± hv is enough.

    Attributes:
        classifier: in eval mode.
        unit: directions v [T, C, H, W].
        h: step length, in pixel units.
        candidates: number of classes with the largest logits that are considered, the predicted class included.
        batch_size: images per pass.
    """

    classifier: AnyClassifier
    unit: Tensor
    h: float
    candidates: int = 10
    batch_size: int = 500

    def __call__(self, points: Tensor, labels: Tensor) -> SurrogateValue:
        """ρ̂ and its gradient at points [B, C, H, W], with labels int64 [B] for the margin."""
        dimension, shape = points[0].numel(), (-1, *[1] * (points.dim() - 1))
        points = points.detach().requires_grad_()
        with torch.enable_grad():
            logits = self.classifier(points)
            predicted = logits.detach().argmax(dim=1)
            rivals = runners_up(logits, predicted, min(self.candidates, logits.shape[1]) - 1)
            boundaries = self._boundaries(logits, predicted, rivals)
            margin = input_gradient(decision_function(logits, labels), points, keep_graph=True)
            normals = torch.stack(list(input_gradients(boundaries, points, keep_graph=True)))
            lengths = torch.linalg.vector_norm(normals.flatten(2), dim=2, dtype=torch.double).T  # [B, R]
            weights = torch.where(lengths > 0, 1 / ((dimension - 1) * lengths.clamp_min(1e-300)), 0.0)
            weights = weights / rivals.shape[1]
            # Every second difference subtracts 2F(x); the mean over v has the weight d, the normal the weight −1.
            center = -2 * (dimension - 1) * (weights * boundaries.double()).sum(dim=1) / self.h**2
            score, gradient = center.detach(), input_gradient(center, points)

            share = dimension / len(self.unit)
            for v in self.unit.split(self._directions_per_pass(len(points))):
                steps = v.unsqueeze(1).expand(-1, *points.shape)
                forms, slope = self._ends(points, steps, predicted, rivals, share * weights)
                score, gradient = score + forms, gradient + slope
            for column, normal in enumerate(normals):
                length = lengths[:, column].where(lengths[:, column] > 0, 1.0).view(shape)
                own = torch.zeros_like(weights)
                own[:, column] = -weights[:, column]
                steps = (normal / length.to(normal)).unsqueeze(0)
                forms, slope = self._ends(points, steps, predicted, rivals, own)
                score, gradient = score + forms, gradient + slope
        return SurrogateValue(predicted, score, gradient, margin)

    def _directions_per_pass(self, count: int) -> int:
        return max(1, cached_rows(self.unit[0], self.batch_size) // (2 * count))

    def _ends(
        self, points: Tensor, steps: Tensor, predicted: Tensor, rivals: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Σ over steps [S, B, C, H, W] and classes of weight · (F(x + hv) + F(x − hv)) / h², and its gradient."""
        ends = torch.cat([points + self.h * steps, points - self.h * steps])
        logits = self.classifier(ends.flatten(0, 1)).view(len(ends), len(points), -1)
        boundaries = self._boundaries(
            logits, predicted.expand(len(ends), -1), rivals.expand(len(ends), *rivals.shape)
        )
        total = (weights * boundaries.double()).sum(dim=(0, 2)) / self.h**2
        return total.detach(), input_gradient(total, points, keep_graph=True)

    @staticmethod
    def _boundaries(logits: Tensor, predicted: Tensor, rivals: Tensor) -> Tensor:
        return logits.gather(-1, rivals) - logits.gather(-1, predicted.unsqueeze(-1))


def evade(
    classifier: AnyClassifier,
    images: Tensor,
    labels: Tensor,
    starts: Tensor,
    radius: Tensor,
    generator: torch.Generator,
    *,
    side: float = 1.0,
    steps: int = 20,
    directions: int = 10,
    h_scale: float = 1.0,
    clip: bool = True,
    batch_size: int = 500,
    task: Task | None = None,
) -> Evasion:
    """Lower the detector's score of adversarial images, and keep them misclassified.

    From `starts`, take `steps` steps of length 2·radius/steps within the ℓ2 ball and the pixel box. Among the
    misclassified iterates, the start included, keep the one with the smallest side·ρ̂. The attack uses the
    detector, its step h and its side, but random directions of its own, the same for all iterates.

    Args:
        classifier: used in eval mode and left as it was.
        images: the clean ones [B, C, H, W] in [0, 1].
        labels: int64 [B], the classes to avoid.
        starts: [B, C, H, W], misclassified.
        radius: ℓ2 [B], in pixel units.
        generator: source of the directions, on the CPU.
        side: +1 lowers ρ, against a detector for which larger means perturbed; −1 raises ρ.
        steps: gradient steps, from 1.
        directions: number of directions of the surrogate, from 1.
        h_scale: factor of h, as for the detector.
        clip: stay in the pixel box; without it, the starts may also lie outside.
        batch_size: images per pass.
        task: the progress bar, which advances by one per image.

    Raises:
        UserError: for steps or directions below 1.
    """
    if steps < 1 or directions < 1:
        raise UserError(f"expected steps and directions from 1, got {steps} and {directions}")
    unit = unit_vectors(directions, images.shape[1:], generator).to(images)
    surrogate = Surrogate(classifier, unit, step_length(images[0].numel(), h_scale), batch_size=batch_size)
    parts = []
    at_once = max(1, cached_rows(images[0], batch_size) // 2)
    with evaluating(classifier), frozen(classifier):
        for rows in torch.arange(len(images), device=images.device).split(at_once):
            reach = radius[rows].view(-1, 1, 1, 1)
            parts.append(
                _evade(surrogate, images[rows], labels[rows], starts[rows], reach, side, steps, clip)
            )
            if task is not None:
                task.advance(len(rows))
    adversarial, lowest = (torch.cat(part) for part in zip(*parts, strict=True))
    return Evasion(adversarial, torch.where(lowest.isfinite(), side * lowest, torch.nan))


def _evade(
    surrogate: Surrogate,
    origin: Tensor,
    labels: Tensor,
    starts: Tensor,
    reach: Tensor,
    side: float,
    steps: int,
    clip: bool,
) -> tuple[Tensor, Tensor]:
    """The misclassified iterate with the smallest side·ρ̂ for every image of a batch, and that value."""
    best, points = starts.clone(), starts
    lowest = torch.full((len(origin),), torch.inf, dtype=torch.double, device=origin.device)
    for step in range(steps + 1):
        # (1) Both gradients.
        here = surrogate(points, labels)
        misclassified, score = here.predicted != labels, side * here.score
        better = misclassified & (score < lowest)
        best[better], lowest[better] = points[better], score[better]
        if step == steps:
            break
        # (2) and (3).
        along = normalized(here.margin_gradient)
        evading = -side * here.gradient
        evading = evading - (evading * along).sum(dim=(1, 2, 3), keepdim=True) * along
        direction = torch.where(misclassified.view(-1, 1, 1, 1), evading, -here.margin_gradient)
        # (4) Project.
        points = _project(points + 2 * reach / steps * normalized(direction), origin, reach, clip)
    return best, lowest


def _project(points: Tensor, origin: Tensor, reach: Tensor, clip: bool) -> Tensor:
    """Project onto the ℓ2 ball, with `clip` then the box; if the origin is in the box, points stay in the ball."""
    delta = points - origin
    length = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    inside = origin + delta * (reach / length).clamp_max(1.0)
    return inside.clamp(0.0, 1.0) if clip else inside
