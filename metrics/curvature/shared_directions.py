"""Directions along which the decision boundary is curved near every image (Fawzi et al., §IV)."""

import math
from collections.abc import Callable, Mapping
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
    Boundary,
    BoundaryPoints,
    boundary_at,
    boundary_points,
    principal_directions,
    relative_curvature,
)
from bench.geometry.subspace import noise_outside, noise_within, share_within, shared_directions
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: Lengths of the noise, over the median norm of the images (figure 6).
NOISE = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
#: Kind of vector that is projected (table I) → its name in figures and reasons.
PROJECTED = {
    "adversarial": "DeepFool's r(x)",
    "random": "random vectors",
    "difference": "differences of two images",
    "gradient": "image gradients ∇x",
}


@dataclass(frozen=True, kw_only=True)
class SharedDirections(Metric):
    """Share of an adversarial perturbation that lies in S, the span of directions of high curvature.

    S is spanned by u_1 … u_m, the first singular vectors of the directions of largest |κ_i| at the boundary points
    of training images. `shared_directions` is the mean of ‖P_S r‖/‖r‖ over DeepFool's r(x) on test images, to be
    compared with √(m/d) for a random vector; `shared_directions/random`, `/difference` and `/gradient` are the
    other rows of table I. `shared_directions/curvature` is the mean over i and over test images of ρ_i(z) = |u_iᵀP
    H P u_i| / E_v|vᵀP H P v|, v uniform on the sphere. `shared_directions/noise_inside` and `/noise_outside` are
    the shares of test images whose class changes under noise of 0.2 of the median norm in S and in its complement.
    Curvature is taken over the finite step h; points are not clipped to the pixel box.

    Args:
        train_images: number of training images near whose boundary points the directions are computed.
        per_image: number of principal directions of each.
        count: m; None is min(200, d/4).
        test_images: number of test images, at most.
        curved_images: number of those on which ρ_i is measured, at most.
        directions: number of random directions v for ρ_i.
        full_up_to: up to so many pixels all principal curvatures are computed, above by Lanczos those at the ends.
        h_scale: multiplies h.

    Raises:
        UserError: for counts below 1, or an h_scale that is not above 0.

    Source: Fawzi et al., Classification regions of deep neural networks, §IV, figures 5 and 6, table I.
    """

    name = "shared_directions"
    unit: ClassVar[str] = "ratio"
    higher_is_better: ClassVar[bool | None] = None
    batteries = {
        "full": {"train_images": 100, "per_image": 20, "test_images": 1000, "curved_images": 200},
        "geometry": {},
        "indicators": {},
    }
    charts_function = "metrics.curvature.charts.shared_directions:draw"

    train_images: int = 20
    per_image: int = 10
    count: int | None = None
    test_images: int = 200
    curved_images: int = 20
    directions: int = 100
    full_up_to: int = 400
    h_scale: float = 1.0

    def __post_init__(self) -> None:
        for name in ("train_images", "per_image", "test_images", "curved_images", "directions"):
            if getattr(self, name) < 1:
                raise UserError(f"expected {name} from 1, got {name}={getattr(self, name)}")
        if self.count is not None and self.count < 1:
            raise UserError(f"expected count from 1, or None for min(200, d/4), got count={self.count}")
        if not self.h_scale > 0:
            raise UserError(f"expected h_scale above 0, got {self.h_scale}")

    def settings(self) -> dict[str, Value]:
        """How S is computed and tested."""
        return {
            "train_images": self.train_images,
            "per_image": self.per_image,
            "count": self.count if self.count is not None else "min(200, d/4)",
            "test_images": self.test_images,
            "curved_images": self.curved_images,
            "directions": self.directions,
            "full_up_to": self.full_up_to,
            "estimator": "second_difference",
            "h_scale": self.h_scale,
            "attack": "deepfool, not clipped",
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Basis [m, d], ρ [points, m], class changes [levels, n] inside and outside, projections by kind.

        Raises:
            NotMeasurable: when DeepFool fools the network on no training image, or no boundary has a normal.
        """
        generator = evaluation.generator(self.name)
        train = evaluation.dataset.train
        chosen = torch.randperm(len(train), generator=generator)[: self.train_images]
        shown, _ = train.batch(chosen.to(train.labels.device))
        images = evaluation.images[: self.test_images]
        basis, used = self._basis(evaluation, shown)
        on_test = boundary_points(evaluation.classifier, images, batch_size=evaluation.batch_size)
        predict = Predictor(evaluation.classifier, evaluation.batch_size)
        labels = predict(images)
        norm = images.flatten(1).norm(dim=1).median()
        arrays: Arrays = {
            "basis": basis.float().cpu().numpy(),
            "used": np.array([used]),
            "shape": np.array(images.shape[1:]),
            "norm": np.array([norm.item()]),
            "relative_curvature": self._relative(evaluation, on_test, basis),
            "changed_inside": self._changed(predict, images, labels, norm, basis, noise_within, generator),
            "changed_outside": self._changed(predict, images, labels, norm, basis, noise_outside, generator),
        }
        partner = torch.randperm(len(images), generator=generator).to(images.device)
        vectors = {
            "adversarial": (on_test.perturbed - images)[on_test.found],
            "random": torch.randn(images.shape, generator=generator).to(images),
            "difference": images[partner] - images[partner.roll(1)],
            "gradient": torch.cat([_slope(images, 2), _slope(images, 3)]),
        }
        for name, some in vectors.items():
            shares = share_within(some, basis).cpu().numpy()
            arrays[f"projection/{name}"] = shares[np.isfinite(shares)]
        return arrays

    def _boundary(self, evaluation: Evaluation, near: BoundaryPoints, row: int) -> Boundary:
        return boundary_at(
            evaluation.classifier,
            near.points[row],
            int(near.own[row]),
            int(near.other[row]),
            h_scale=self.h_scale,
            batch_size=evaluation.batch_size,
        )

    def _basis(self, evaluation: Evaluation, images: Tensor) -> tuple[Tensor, int]:
        """u_1 … u_m from training images, and how many of these have a boundary point with a normal."""
        near = boundary_points(evaluation.classifier, images, batch_size=evaluation.batch_size)
        top = []
        rows = torch.nonzero(near.found).flatten().tolist()
        for row in evaluation.progress.track(rows, "shared directions", len(rows)):
            boundary = self._boundary(evaluation, near, row)
            profile = principal_directions(
                boundary,
                evaluation.generator(f"{self.name}/basis"),
                extremes=self.per_image,
                full_up_to=self.full_up_to,
            )
            if profile is not None and len(profile.curvatures):
                largest = profile.curvatures.abs().argsort(descending=True)[: self.per_image]
                top.append(profile.directions[largest])
        if not top:
            raise NotMeasurable(f"none of {len(images)} training images has a boundary with a normal nearby")
        dimension = images[0].numel()
        count = self.count if self.count is not None else max(1, min(200, dimension // 4))
        return shared_directions(torch.cat(top), min(count, dimension - 1)), len(top)

    def _relative(self, evaluation: Evaluation, near: BoundaryPoints, basis: Tensor) -> np.ndarray:
        """ρ_i(z) [points, m], without points that have no normal or no curvature in any random direction."""
        rows = torch.nonzero(near.found).flatten().tolist()[: self.curved_images]
        rho = []
        for row in evaluation.progress.track(rows, "relative curvature", len(rows)):
            boundary = self._boundary(evaluation, near, row)
            ratios = relative_curvature(
                boundary, basis, evaluation.generator(f"{self.name}/relative"), self.directions
            )
            if ratios is not None:
                rho.append(ratios.cpu().numpy())
        return np.stack(rho) if rho else np.zeros((0, len(basis)))

    @staticmethod
    def _changed(
        predict: Predictor,
        images: Tensor,
        labels: Tensor,
        norm: Tensor,
        basis: Tensor,
        draw: Callable[[Tensor, int, torch.Generator], Tensor],
        generator: torch.Generator,
    ) -> np.ndarray:
        """Whether the class of each image changes under noise of each length: bool [levels, n]."""
        unit = draw(basis, len(images), generator).view(images.shape).to(images)
        return np.stack([(predict(images + level * norm * unit) != labels).cpu().numpy() for level in NOISE])

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        kinds = [kind for kind in PROJECTED if kind != "adversarial"]
        return self.name, *(
            f"{self.name}/{part}" for part in (*kinds, "curvature", "noise_inside", "noise_outside")
        )

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Projections, relative curvature, and shares of images whose class changes under noise."""
        count, dimension = arrays["basis"].shape
        subspace = (
            f"S of m = {count} from {arrays['used'].item()} training images, d = {dimension}, "
            f"random √(m/d) = {math.sqrt(count / dimension):.3f}"
        )
        scores = {}
        for kind, what in PROJECTED.items():
            name = self.name if kind == "adversarial" else f"{self.name}/{kind}"
            scores[name] = self._mean(arrays[f"projection/{kind}"], f"‖P_S v‖/‖v‖ of {what}; {subspace}", 1.0)
        rho = arrays["relative_curvature"]
        scores[f"{self.name}/curvature"] = self._mean(
            rho.mean(axis=1) if rho.size else np.zeros(0),
            f"mean of |u_iᵀPHPu_i| over that of a random direction, all {count} directions; {subspace}",
        )
        level = NOISE.index(0.2)
        for side in ("inside", "outside"):
            changed = arrays[f"changed_{side}"][level]
            low, high = proportion_interval(int(changed.sum()), len(changed))
            scores[f"{self.name}/noise_{side}"] = Score(
                value=float(changed.mean()),
                low=low,
                high=high,
                n=len(changed),
                unit="fraction",
                reason=f"class changed by noise of 0.2 of the median norm {side} S; {subspace}",
            )
        return scores

    def _mean(self, values: np.ndarray, reason: str, largest: float = math.inf) -> Score:
        missing = "" if len(values) else "no vector to measure on; "
        return mean_score(values, unit=self.unit, reason=f"{missing}{reason}", bounds=(0.0, largest))


def _slope(images: Tensor, axis: int) -> Tensor:
    """Forward differences of neighboring pixels along an axis, in the images' shape; zero at the end."""
    slope = torch.zeros_like(images)
    size = images.shape[axis] - 1
    slope.narrow(axis, 0, size).copy_(images.diff(dim=axis))
    return slope
