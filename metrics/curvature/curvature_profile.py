"""Principal curvatures of the decision boundary near clean and near perturbed images (Fawzi et al., §IV)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.intervals import proportion_interval
from bench.core.predictor import Predictor
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.principal_curvatures import (
    Profile,
    boundary_at,
    boundary_points,
    mean_at,
    principal_directions,
)
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


@dataclass(frozen=True, kw_only=True)
class CurvatureProfile(Metric):
    """Mean principal curvature of the decision boundary near clean images, and the share where it is positive.

    κ_i = eigenvalues of P H_F P / ‖∇F‖ at z = x + r(x) on the boundary, P = I − nnᵀ, F = f_predicted − f_other
    (§II). A ReLU network's curvature is taken over a finite step h = √d · 10/512 · h_scale: central differences of
    gradients give the principal directions, second differences of F along them give κ_i. `curvature_sign/clean` is
    the share of clean images with a positive mean, the first row of table II. `curvature_sign/perturbed` is that
    share for x + r(x), with F of its own predicted class; the second row of the table is one minus this. (The text
    of §V has the opposite sign; the table agrees with F as above.)

    Args:
        images: number of correctly classified test images, at most.
        extremes: number of principal curvatures at each end of the spectrum, where Lanczos computes them.
        full_up_to: up to so many pixels the mean is over all principal directions, above over random ones.
        spectrum_up_to: up to so many pixels all principal curvatures are computed for the figure, above only the
            extremes. No score depends on it. Values below `full_up_to` count as `full_up_to`.
        directions: number of random directions of the mean, above `full_up_to` and for perturbed images.
        h_scale: multiplies h.

    Raises:
        UserError: for counts below 1, fewer than 2 directions or an h_scale that is not above 0.

    Source: Fawzi et al., Classification regions of deep neural networks, §IV, equation 1, figure 4, table II.
    """

    name = "curvature_profile"
    unit: ClassVar[str] = "1/pixel"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-float("inf"), float("inf"))
    batteries = {
        "full": {"images": 200},
        "geometry": {"images": 20},
        "indicators": {"images": 20, "spectrum_up_to": 0},
    }
    charts_function = "metrics.curvature.charts.curvature_profile:draw"

    images: int = 20
    extremes: int = 20
    full_up_to: int = 400
    spectrum_up_to: int = 1024
    directions: int = 100
    h_scale: float = 1.0

    def __post_init__(self) -> None:
        if min(self.images, self.extremes) < 1 or self.directions < 2 or not self.h_scale > 0:
            raise UserError(
                "expected images and extremes from 1, directions from 2 and h_scale above 0, got "
                f"{self.images}, {self.extremes}, {self.directions} and {self.h_scale}"
            )

    def settings(self) -> dict[str, Value]:
        """Every choice that the curvatures depend on."""
        return {
            "images": self.images,
            "extremes": self.extremes,
            "full_up_to": self.full_up_to,
            "directions": self.directions,
            "estimator": "second_difference",
            "orientation": "section2",
            "h_scale": self.h_scale,
            "attack": "deepfool, not clipped, brought onto the boundary",
        }

    @property
    def _complete_up_to(self) -> int:
        return max(self.full_up_to, self.spectrum_up_to)

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Curvatures [m, p] and means [m] near clean images, means near perturbed ones; NaN where ∇F vanishes.

        Raises:
            NotMeasurable: when no image is classified correctly, or DeepFool fools the network on none.
        """
        clean, index = self._correct(evaluation)
        near_clean = boundary_points(evaluation.classifier, clean, batch_size=evaluation.batch_size)
        found = near_clean.found
        if not found.any():
            raise NotMeasurable(f"DeepFool fooled the network on none of {len(clean)} images")
        near_perturbed = boundary_points(
            evaluation.classifier, near_clean.perturbed[found], batch_size=evaluation.batch_size
        )

        rows = torch.nonzero(found).flatten().tolist()
        profiles, means = [], []
        with evaluation.progress.task("curvature profile", 2 * len(rows)) as task:
            for row in rows:
                own, other = int(near_clean.own[row]), int(near_clean.other[row])
                profiles.append(self._profile(evaluation, near_clean.points[row], own, other))
                task.advance()
            for row, back in enumerate(near_perturbed.found.tolist()):
                own, other = int(near_perturbed.own[row]), int(near_perturbed.other[row])
                point = near_perturbed.points[row]
                means.append(self._mean(evaluation, point, own, other) if back else np.nan)
                task.advance()
        dimension = clean[0].numel()
        full = dimension <= self._complete_up_to
        # Where Lanczos finds fewer, their ranks are not known, and the row stays NaN.
        width = dimension - 1 if full else 2 * min(self.extremes, dimension // 4)
        curvatures = np.full((len(rows), width), np.nan)
        for row, profile in enumerate(profiles):
            if profile is not None and len(profile.curvatures) == width:
                curvatures[row] = profile.curvatures.cpu().numpy()
        return {
            "curvatures": curvatures,
            "mean": np.array([np.nan if profile is None else profile.mean for profile in profiles]),
            "perturbed_mean": np.array(means),
            "test_index": evaluation.test_index.cpu().numpy()[index[found].cpu().numpy()],
            "attacked": np.array([len(clean)]),
            "dimension": np.array([dimension]),
            "h": np.array([boundary_at(evaluation.classifier, clean[0], 0, 1, h_scale=self.h_scale).h]),
        }

    def _correct(self, evaluation: Evaluation) -> tuple[Tensor, Tensor]:
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        index = torch.nonzero(predict(evaluation.images) == evaluation.labels).flatten()[: self.images]
        if len(index) == 0:
            raise NotMeasurable("no test image is classified correctly, so there is none to start from")
        return evaluation.images[index], index

    def _profile(self, evaluation: Evaluation, point: Tensor, own: int, other: int) -> Profile | None:
        boundary = boundary_at(
            evaluation.classifier, point, own, other, h_scale=self.h_scale, batch_size=evaluation.batch_size
        )
        return principal_directions(
            boundary,
            evaluation.generator(self.name),
            extremes=self.extremes,
            full_up_to=self._complete_up_to,
            mean_directions=self.directions,
            mean_up_to=self.full_up_to,
        )

    def _mean(self, evaluation: Evaluation, point: Tensor, own: int, other: int) -> float:
        boundary = boundary_at(
            evaluation.classifier, point, own, other, h_scale=self.h_scale, batch_size=evaluation.batch_size
        )
        return mean_at(boundary, evaluation.generator(self.name), self.directions)

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, "curvature_sign/clean", "curvature_sign/perturbed"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Mean curvature near clean images; shares of clean and perturbed images where the mean is positive."""
        scale = f"over a step of h = {arrays['h'].item():.3f}, F = f_predicted − f_other"
        means = {"clean": arrays["mean"], "perturbed": arrays["perturbed_mean"]}
        usable = {name: values[np.isfinite(values)] for name, values in means.items()}
        counts = {
            name: f"{len(usable[name])} of {arrays['attacked'].item()} images, the others not fooled or "
            "without a normal"
            for name in means
        }
        scores = {
            f"curvature_sign/{name}": self._share(values, f"{scale}; {counts[name]}")
            for name, values in usable.items()
        }
        clean = usable["clean"]
        why = scale if len(clean) else "no boundary has a normal"
        mean = mean_score(clean, unit=self.unit, reason=f"{why}; {counts['clean']}")
        return {self.name: mean, **scores}

    def _share(self, means: np.ndarray, reason: str) -> Score:
        if len(means) == 0:
            return Score(value=None, n=0, unit="fraction", reason=f"no boundary has a normal; {reason}")
        positive = int(np.count_nonzero(means > 0))
        low, high = proportion_interval(positive, len(means))
        return Score(
            value=positive / len(means), low=low, high=high, n=len(means), unit="fraction", reason=reason
        )
