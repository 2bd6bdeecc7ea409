"""Hessian with respect to the input, and the second-order bound on what a perturbation changes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from torch import Tensor

from bench.core.errors import UserError, unknown_name
from bench.core.intervals import proportion_interval
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.hessian import EXPANDED, LARGEST, NEAR_ZERO, Expansion, HessianKind, expand
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: Eigenvalues of each image that are stored, the largest in absolute value.
_KEPT = 100
#: Tolerance for rounding when a change is compared with the bound, relative to F and to the bound.
_ROUNDING = 1e-4


@dataclass(frozen=True, kw_only=True)
class InputHessian(Metric):
    """Mean ‖H‖₁ = Σ|H_ij| over test images, with the share of zero eigenvalues and the second-order bound.

    The second derivative of a ReLU network's logits is zero almost everywhere, so `hessian` chooses H: the exact
    Hessian of the cross-entropy ("ce_exact"), the one of L over a finite step ("finite_difference"), or the one of
    L with softplus in place of ReLU ("softplus"). `/near_zero_eigenvalues` is the mean share of |λ_i| < 1e-10,
    `/largest_eigenvalue` the mean of max|λ_i|. `/bound` is the mean of Σ|J_i||δ_i| + ½Σ|λ_i|y_i² at the δ that
    maximizes J·δ within ε, `/bound_first_order` the mean of its first sum, `/change` the mean of |F(x + δ) − F(x)|,
    and `/bound_holds` the share of images whose change is within the bound, which a second-order expansion does not
    guarantee.

    Args:
        images: number of test images, the first ones. Each takes K backward passes with "ce_exact", 2d with
            "finite_difference" and d with "softplus".
        hessian: which Hessian.
        step: h of "finite_difference", in pixel units.
        beta: of the softplus.

    Raises:
        UserError: for an unknown hessian, fewer than 1 image, or a step or beta that is not above 0.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, §4, equation 9, figure 8.
    """

    name = "input_hessian"
    unit: ClassVar[str] = "1/pixel²"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    batteries = {"full": {"images": 100}, "geometry": {"images": 20}, "indicators": {"images": 20}}
    charts_function = "metrics.surface.charts.input_hessian:draw"

    images: int = 20
    hessian: HessianKind = "ce_exact"
    step: float = 0.05
    beta: float = 10.0

    def __post_init__(self) -> None:
        if self.hessian not in get_args(HessianKind):
            raise unknown_name("hessian", self.hessian, get_args(HessianKind))
        if self.images < 1 or not (self.step > 0 and self.beta > 0):
            raise UserError(
                "expected images from 1, step and beta above 0, got "
                f"{self.images}, {self.step} and {self.beta}"
            )

    def settings(self) -> dict[str, Value]:
        """Images, the Hessian, its function, and its parameter."""
        parameter: dict[str, Value] = {}
        if self.hessian == "finite_difference":
            parameter = {"step": self.step}
        elif self.hessian == "softplus":
            parameter = {"beta": self.beta}
        return {
            "images": self.images,
            "hessian": self.hessian,
            "function": EXPANDED[self.hessian],
            **parameter,
        }

    def measure(self, evaluation: Evaluation) -> Arrays:
        """For each image [n], norms, share of zeros, bound and change; eigenvalues [n, e]; H of the first image.

        Raises:
            NotMeasurable: when there is no image, or the network does not have this Hessian.
        """
        images, labels = evaluation.first(self.images)
        dimension = images[0].numel()
        if self.hessian != "ce_exact" and dimension > LARGEST:
            raise NotMeasurable(
                f"hessian {self.hessian} needs images of at most {LARGEST} pixels, these have {dimension}; "
                "use ce_exact"
            )
        rows: dict[str, list[float]] = {}
        spectra, picture = [], np.empty((0, 0))
        with evaluation.progress.task("input Hessian", len(images)) as task:
            for number, (image, label) in enumerate(zip(images, labels, strict=True)):
                expansion = self._expand(evaluation, image, label)
                delta = expansion.steepest(evaluation.threat)
                first, second = expansion.bound(delta)
                moved = image + delta.view_as(image).to(image)
                change = expansion.function(moved[None], label[None]).item() - expansion.value
                sizes = expansion.hessian.eigenvalues.abs().sort(descending=True).values
                spectra.append(sizes[:_KEPT].cpu().numpy())
                if number == 0:
                    picture = expansion.hessian.picture().cpu().numpy()
                found = {
                    "l1": expansion.hessian.l1(),
                    "near_zero": expansion.hessian.near_zero(NEAR_ZERO),
                    "largest": sizes[0].item(),
                    "jacobian_l1": expansion.gradient.abs().sum().item(),
                    "value": expansion.value,
                    "first_order": first,
                    "second_order": second,
                    "change": abs(change),
                }
                for name, value in found.items():
                    rows.setdefault(name, []).append(value)
                task.advance()
        return {
            **{name: np.array(values) for name, values in rows.items()},
            "eigenvalues": np.stack(spectra),
            "picture": picture,
            "dimension": np.array([dimension]),
            "label": labels.cpu().numpy(),
            "test_index": evaluation.test_index.cpu().numpy()[: self.images],
        }

    def _expand(self, evaluation: Evaluation, image: Tensor, label: Tensor) -> Expansion:
        try:
            return expand(
                evaluation.classifier,
                image,
                label,
                hessian=self.hessian,
                step=self.step,
                beta=self.beta,
                batch_size=evaluation.batch_size,
            )
        except UserError as error:
            if self.hessian != "softplus":
                raise
            raise NotMeasurable(str(error)) from error

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        zeros, bound = ("near_zero_eigenvalues", "largest_eigenvalue"), ("bound", "bound_first_order")
        parts = (*zeros, *bound, "change", "bound_holds")
        return self.name, *(f"{self.name}/{part}" for part in parts)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Means, and the share of images whose change is within the bound."""
        what = f"{self.function()}; pixels in [0, 1]"
        zeros = f"|λ| < {NEAR_ZERO:g}"
        if self.hessian == "ce_exact":
            d = int(arrays["dimension"].item())
            zeros += (
                f"; with K classes H has rank K − 1 at most, so of d = {d} at least (d − K + 1)/d are zero"
            )
        bound, n = arrays["first_order"] + arrays["second_order"], len(arrays["change"])
        slack = _ROUNDING * (np.abs(arrays["value"]) + bound)
        held = int(np.count_nonzero(arrays["change"] <= bound + slack))
        low, high = proportion_interval(held, n)
        unit = "nats" if self.hessian == "ce_exact" else "logits"
        per_pixel = f"{unit}/pixel²"
        return {
            self.name: mean_score(arrays["l1"], unit=per_pixel, reason=what, bounds=self.bounds),
            f"{self.name}/near_zero_eigenvalues": mean_score(
                arrays["near_zero"], unit="fraction", reason=f"{zeros}; {what}", bounds=(0, 1)
            ),
            f"{self.name}/largest_eigenvalue": mean_score(
                arrays["largest"], unit=per_pixel, reason=what, bounds=self.bounds
            ),
            f"{self.name}/bound": mean_score(bound, unit=unit, reason=what, bounds=self.bounds),
            f"{self.name}/bound_first_order": mean_score(
                arrays["first_order"], unit=unit, reason=what, bounds=self.bounds
            ),
            f"{self.name}/change": mean_score(arrays["change"], unit=unit, reason=what, bounds=self.bounds),
            f"{self.name}/bound_holds": Score(
                value=held / n, low=low, high=high, n=n, unit="fraction", reason=what
            ),
        }

    def function(self) -> str:
        """Name the Hessian, its parameter, and the function that it is of, for reasons and captions."""
        detail = {"finite_difference": f", step {self.step:g}", "softplus": f", β = {self.beta:g}"}
        return f"{self.hessian}{detail.get(self.hessian, '')}: of the {EXPANDED[self.hessian]}"
