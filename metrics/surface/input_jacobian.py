"""Gradient of the decision function at test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.record import Score, Value
from bench.core.statistics import mean_score, median_score
from bench.geometry.jacobian import NEAR_ZERO, decision_jacobian
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation

#: Edges of the bins of |J_i|, three a decade; smaller and larger values are in the outer bins.
EDGES = np.logspace(-8, 5, 40)


@dataclass(frozen=True, kw_only=True)
class InputJacobian(Metric):
    """Mean ‖J‖₁ of J = ∂L/∂x over test images, with ‖J‖₂, the share of small entries and the first-order margin.

    L = Z_t − max Z_i, pixels in [0, 1], over correctly classified and misclassified images. `/near_zero` is the
    mean share of entries with |J_i| < threshold; `/first_order_margin` the median of L / (ε‖J‖₁), with ‖J‖₂ in
    place of ‖J‖₁ under an ℓ2 threat; `/first_order_robust` the share of images where this is above 1: no
    perturbation within ε would move them across the boundary if L were linear. Norms grow with the scale of the
    logits, ratios do not.

    Args:
        images: number of test images, the first ones.
        threshold: in logits per pixel unit.
        shown: number of Jacobians to draw.

    Raises:
        UserError: for no image, a negative number of shown ones, or a threshold that is not above 0.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, §4, figures 8, 10, 15.
    """

    name = "input_jacobian"
    unit: ClassVar[str] = "logits/pixel"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    batteries = {"full": {"images": 1000}, "geometry": {"images": 200}, "indicators": {"images": 200}}
    charts_function = "metrics.surface.charts.input_jacobian:draw"

    images: int = 500
    threshold: float = NEAR_ZERO
    shown: int = 8

    def __post_init__(self) -> None:
        if self.images < 1 or self.shown < 0 or not self.threshold > 0:
            raise UserError(
                "expected images from 1, shown from 0 and a threshold above 0, got "
                f"{self.images}, {self.shown} and {self.threshold}"
            )

    def settings(self) -> dict[str, Value]:
        """Number of images, threshold and function."""
        return {
            "images": self.images,
            "threshold": self.threshold,
            "function": "decision function, in logits",
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Statistics of each image [n], counts of |J_i| by bin, and the first images and Jacobians [s, C, H, W].

        Raises:
            NotMeasurable: when there is no image.
        """
        images, labels = evaluation.first(self.images)
        columns: dict[str, list[np.ndarray]] = {}
        counts = np.zeros(len(EDGES) - 1, dtype=np.int64)
        zeros, pictures = 0, []
        with evaluation.progress.task("input Jacobian", len(images)) as task:
            for start in range(0, len(images), evaluation.batch_size):
                rows = slice(start, start + evaluation.batch_size)
                jacobian = decision_jacobian(
                    evaluation.classifier, images[rows], labels[rows], batch_size=evaluation.batch_size
                )
                found = {
                    "margin": jacobian.margin,
                    "l1": jacobian.l1,
                    "l2": jacobian.l2,
                    "near_zero": jacobian.near_zero(self.threshold),
                    "first_order_margin": jacobian.first_order_margin(evaluation.threat),
                }
                for name, values in found.items():
                    columns.setdefault(name, []).append(values.cpu().numpy())
                size = jacobian.gradient.abs().cpu().numpy().ravel()
                zeros += int(np.count_nonzero(size == 0))
                counts += np.histogram(size[size > 0].clip(EDGES[0], EDGES[-1]), EDGES)[0]
                pictures.append(jacobian.gradient[: max(0, self.shown - start)].float().cpu().numpy())
                task.advance(len(jacobian.margin))
        return {
            **{name: np.concatenate(parts) for name, parts in columns.items()},
            "label": labels.cpu().numpy(),
            "test_index": evaluation.test_index.cpu().numpy()[: self.images],
            "entries": counts,
            "zero_entries": np.array([zeros]),
            "jacobian": np.concatenate(pictures),
            "image": images[: self.shown].cpu().numpy(),
        }

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, *(
            f"{self.name}/{part}" for part in ("l2", "near_zero", "first_order_margin", "first_order_robust")
        )

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Means, the median margin, and the share of images with a margin above 1."""
        ratio = arrays["first_order_margin"]
        robust = int(np.count_nonzero(ratio > 1))
        low, high = proportion_interval(robust, len(ratio))
        flat = "at least half of the images have a zero Jacobian"
        return {
            self.name: mean_score(
                arrays["l1"], unit=self.unit, reason="pixels in [0, 1]", bounds=self.bounds
            ),
            f"{self.name}/l2": mean_score(
                arrays["l2"], unit=self.unit, reason="pixels in [0, 1]", bounds=self.bounds
            ),
            f"{self.name}/near_zero": mean_score(
                arrays["near_zero"], unit="fraction", reason=f"|J_i| < {self.threshold:g}", bounds=(0, 1)
            ),
            f"{self.name}/first_order_margin": median_score(
                ratio, unit="ratio", reason="median", infinite=flat
            ),
            f"{self.name}/first_order_robust": Score(
                value=robust / len(ratio), low=low, high=high, n=len(ratio), unit="fraction"
            ),
        }
