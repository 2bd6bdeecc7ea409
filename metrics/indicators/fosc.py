"""First-order stationarity: how far PGD's last iterate is from a maximum of the loss within the threat."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.attacks import maximise
from bench.core.errors import UserError
from bench.core.gradients import input_gradient
from bench.core.margins import cross_entropy
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.core.threat import Threat
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation


@dataclass(frozen=True, kw_only=True)
class FOSC(Metric):
    """Mean of max_{z ∈ X} ⟨z − x_k, ∇ℓ(x_k)⟩ at the last iterate x_k of PGD, ℓ the cross-entropy; 0 at a maximum.

    X is the ball cut to the pixel box. For ℓ∞ the maximum is exact, and where the box does not bind it is the
    paper's ε‖∇ℓ‖₁ − ⟨x_k − x, ∇ℓ⟩; for ℓ2 it is ε‖∇ℓ‖₂ − ⟨x_k − x, ∇ℓ⟩, as if there were no box. All images
    take all steps, also those that are misclassified. `/relative` divides by the range of ⟨z, ∇ℓ⟩ over X, so
    that it does not shrink with the gradient, from 0 to 1; images whose gradient is exactly zero have none.

    Args:
        images: number of test images, the first ones.
        steps: of PGD, with steps of 2.5·ε/steps.

    Raises:
        UserError: for fewer than 1 image or step.

    Source: Wang et al. 2019, On the Convergence and Robustness of Adversarial Training, definition 1, equation 6.
    """

    name = "fosc"
    titles = {"fosc": "FOSC of PGD-20"}
    unit: ClassVar[str] = "nats"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    batteries = {"indicators": {}}

    images: int = 200
    steps: int = 20

    def __post_init__(self) -> None:
        if min(self.images, self.steps) < 1:
            raise UserError(f"expected images and steps from 1, got {self.images} and {self.steps}")

    def settings(self) -> dict[str, Value]:
        """Number of images and steps."""
        return {"images": self.images, "steps": self.steps, "loss": "ce"}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """FOSC of each image [n], and the range of the linearized loss over the threat.

        Raises:
            NotMeasurable: when there is no image.
        """
        images, labels = evaluation.first(self.images)
        classifier, threat = evaluation.classifier, evaluation.threat
        generator = evaluation.generator(self.name)
        parts: list[tuple[np.ndarray, np.ndarray]] = []
        with evaluation.progress.task("FOSC", len(images)) as task:
            for start in range(0, len(images), evaluation.batch_size):
                rows = slice(start, start + evaluation.batch_size)
                points = maximise(
                    classifier, images[rows], labels[rows], threat, generator, steps=self.steps
                ).requires_grad_()
                with torch.enable_grad():
                    gradient = input_gradient(cross_entropy(classifier(points), labels[rows]), points)
                left, extent = stationarity(points.detach(), images[rows], gradient, threat)
                parts.append((left.cpu().numpy(), extent.cpu().numpy()))
                task.advance(len(points))
        return {
            "fosc": np.concatenate([left for left, _ in parts]),
            "range": np.concatenate([extent for _, extent in parts]),
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/relative"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Both means, with intervals over images."""
        some = arrays["range"] > 0
        zero = int((~some).sum())
        note = f"{zero} of {len(some)} images have no gradient" if zero else ""
        relative = arrays["fosc"][some] / arrays["range"][some]
        return {
            self.name: mean_score(arrays["fosc"], unit=self.unit, bounds=self.bounds),
            f"{self.name}/relative": mean_score(relative, unit="fraction", reason=note, bounds=(0, 1)),
        }


def stationarity(points: Tensor, origin: Tensor, gradient: Tensor, threat: Threat) -> tuple[Tensor, Tensor]:
    """FOSC at points of the threat's set around `origin`, and the range of ⟨z, g⟩ over it; float64 [B].

    Args:
        points, origin, gradient: [B, C, H, W].
    """
    x, center, g = (each.double().flatten(1) for each in (points, origin, gradient))
    if threat.norm == "linf":
        low, high = (center - threat.radius).clamp(0, 1), (center + threat.radius).clamp(0, 1)
        best = torch.where(g > 0, high, low)
        left = ((best - x) * g).sum(dim=1)
        extent = ((high - low) * g.abs()).sum(dim=1)
    else:
        size = threat.radius * g.norm(dim=1)
        left, extent = size - ((x - center) * g).sum(dim=1), 2 * size
    # Rounding of the iterate may take it just over the edge.
    return left.clamp_min(0), extent
