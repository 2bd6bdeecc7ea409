"""An attack that knows the curvature detector: it fools the classifier and lowers ρ at once.

Orthogonal projected gradient descent, after Bryniarski et al. 2022, Evading Adversarial Example Detection Defenses
with Orthogonal Projected Gradient Descent: where the classifier is right, a step against its margin; where it is
fooled, a step against the detector's score with the margin's direction taken out.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.deepfool import runners_up
from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.gradients import cached_rows, input_gradient, input_gradients
from bench.core.guards import evaluating, frozen
from bench.core.margins import decision_function
from bench.core.progress import Task
from bench.geometry.curvature import step_length, unit_vectors


@dataclass(frozen=True)
class Evasion:
    """What the attack found.

    Attributes:
        adversarial: [B, C, H, W]; the fooling iterate with the smallest surrogate, the start where none is better.
        surrogate: ρ̂ there, float64 [B]; NaN where it was nowhere defined.
    """

    adversarial: Tensor
    surrogate: Tensor


@dataclass
class Surrogate:
    """ρ̂, a differentiable stand-in for ρ of algorithm 2 with few directions.

    ρ̂ = mean over i of (d · mean_v vᵀH_i v − nᵀH_i n) / ((d − 1)‖∇F_i‖), F_i = f_i − f_k̂, with second differences
    over ±h for vᵀHv. Its gradient treats the normals n and the lengths ‖∇F_i‖ as constants, so that one backward
    pass through the forwards at x ± hv is enough.

    Attributes:
        classifier: in eval mode.
        unit: directions v [T, C, H, W].
        h: length of the step, in pixel units.
        candidates: classes that take part, the predicted one included; the strongest of the others.
        batch_size: images per pass.
    """

    classifier: AnyClassifier
    unit: Tensor
    h: float
    candidates: int = 10
    batch_size: int = 500

    def look(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """k̂ [B], ρ̂ [B], its gradient and that of the margin of the labels, both [B, C, H, W]."""
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
            # Every second difference subtracts 2F(x): d of them on the mean over v, one along the normal.
            center = -2 * (dimension - 1) * (weights * boundaries.double()).sum(dim=1) / self.h**2
            value, slope = center.detach(), input_gradient(center, points)

            share = dimension / len(self.unit)
            for v in self.unit.split(self._at_once(len(points))):
                steps = v.unsqueeze(1).expand(-1, *points.shape)
                forms, gradient = self._ends(points, steps, predicted, rivals, share * weights)
                value, slope = value + forms, slope + gradient
            for column, normal in enumerate(normals):
                length = lengths[:, column].where(lengths[:, column] > 0, 1.0).view(shape)
                own = torch.zeros_like(weights)
                own[:, column] = -weights[:, column]
                steps = (normal / length.to(normal)).unsqueeze(0)
                forms, gradient = self._ends(points, steps, predicted, rivals, own)
                value, slope = value + forms, slope + gradient
        return predicted, value, slope, margin

    def _at_once(self, count: int) -> int:
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
    """Move adversarial images to where the detector's score is low, and keep the classifier fooled.

    From `starts`, `steps` steps of length 2·radius/steps within the ℓ2 ball and the pixel box; among the iterates
    that fool the classifier, the start included, the one with the smallest side·ρ̂ is kept. The attacker knows the
    detector, its step h and its side, and draws directions of its own, the same for all iterates.

    Args:
        classifier: used in eval mode and left as it was.
        images: the clean ones [B, C, H, W] in [0, 1].
        labels: int64 [B], to be left.
        starts: [B, C, H, W], fooling the classifier.
        radius: ℓ2 [B], in pixel units.
        generator: source of the directions, on the CPU.
        side: +1 lowers ρ, against a detector to which larger means perturbed; −1 raises it.
        steps: gradient steps, from 1.
        directions: of the surrogate, from 1.
        h_scale: multiplies h, as for the detector.
        clip: stay in the pixel box; without it the starts may lie outside too.
        batch_size: images per pass.
        task: the bar to move on, by one an image.

    Raises:
        UserError: for steps or directions below 1.
    """
    if steps < 1 or directions < 1:
        raise UserError(f"expected steps and directions from 1, got {steps} and {directions}")
    unit = unit_vectors(directions, images.shape[1:], generator).to(images)
    h = step_length(images[0].numel(), h_scale)
    surrogate = Surrogate(classifier, unit, h, batch_size=batch_size)
    kept, lowest = (
        starts.clone(),
        torch.full((len(images),), torch.inf, dtype=torch.double, device=images.device),
    )
    at_once = max(1, cached_rows(images[0], batch_size) // 2)
    with evaluating(classifier), frozen(classifier):
        for rows in torch.arange(len(images), device=images.device).split(at_once):
            origin, points, reach = images[rows], starts[rows], radius[rows].view(-1, 1, 1, 1)
            for step in range(steps + 1):
                predicted, value, slope, margin = surrogate.look(points, labels[rows])
                fooled, value = predicted != labels[rows], side * value
                better = fooled & (value < lowest[rows])
                kept[rows[better]], lowest[rows[better]] = points[better], value[better]
                if step == steps:
                    break
                along = _unit(margin)
                evading = -side * slope
                evading = evading - (evading * along).sum(dim=(1, 2, 3), keepdim=True) * along
                way = _unit(torch.where(fooled.view(-1, 1, 1, 1), evading, -margin))
                points = _project(points + 2 * reach / steps * way, origin, reach, clip)
            if task is not None:
                task.advance(len(rows))
    value = torch.where(lowest.isfinite(), side * lowest, torch.nan)
    return Evasion(kept, value)


def _unit(vectors: Tensor) -> Tensor:
    """v/‖v‖ image by image; zero stays zero."""
    # Scaled by the largest entry first: squares of a saturated network's gradient underflow in float32.
    tiny = torch.finfo(vectors.dtype).tiny
    scaled = vectors / vectors.abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(tiny)
    return scaled / scaled.square().sum(dim=(1, 2, 3), keepdim=True).sqrt().clamp_min(tiny)


def _project(points: Tensor, origin: Tensor, reach: Tensor, clip: bool) -> Tensor:
    """Into the ℓ2 ball, then with `clip` into the box: that never leads away from an origin inside the box."""
    delta = points - origin
    length = delta.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
    inside = origin + delta * (reach / length).clamp_max(1.0)
    return inside.clamp(0.0, 1.0) if clip else inside
