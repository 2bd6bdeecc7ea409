"""How the network bends around test images, and the second-order bound on what an attack can change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

import numpy as np
from torch import Tensor

from bench.charts import Axis, Chart, Heatmap, Line, Panel, Points
from bench.charts.histograms import histograms
from bench.charts.words import norm_sign
from bench.core.errors import UserError, unknown_name
from bench.core.record import Record, Score, Value, finite
from bench.core.statistics import mean_score, wilson
from bench.geometry.hessian import EXPANDED, LARGEST, NEAR_ZERO, Expansion, HessianKind, expand
from metrics.base import Arrays, Evaluation, Metric, NotMeasurable

#: Eigenvalues of an image that are kept, the largest in size.
_KEPT = 100
#: Rounding that a change may go beyond the bound, as a share of F and of the bound.
_ROUNDING = 1e-4


@dataclass(frozen=True, kw_only=True)
class InputHessian(Metric):
    """Mean ‖H‖₁ = Σ|H_ij| over test images, with the share of zero eigenvalues and the second-order bound.

    A ReLU network's logits have no second derivative almost everywhere, so `hessian` says what H is: that of
    cross-entropy, exactly ("ce_exact"); that of L over a step ("finite_difference"); that of L with softplus in
    place of ReLU ("softplus"). `/near_zero_eigenvalues` is the mean share of |λ_i| < 1e-10,
    `/largest_eigenvalue` the mean of max|λ_i|. `/bound` is the mean of Σ|J_i||δ_i| + ½Σ|λ_i|y_i² at the δ that
    maximizes J·δ within ε, `/bound_first_order` its first sum, `/change` the mean of |F(x + δ) − F(x)|, and
    `/bound_holds` the share of images where the change stays below: a Taylor expansion of second order promises
    no more.

    Args:
        images: test images, the first ones; each takes K backwards ("ce_exact") or 2d and d.
        hessian: which.
        step: h of "finite_difference", in pixel units.
        beta: of "softplus".

    Raises:
        UserError: for an unknown hessian, fewer than 1 image, or a step or beta that is not above 0.

    Source: Yu et al., Interpreting Adversarial Robustness: A View from Decision Surface, §4, equation 9, figure 8.
    """

    name = "input_hessian"
    unit: ClassVar[str] = "1/pixel²"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    batteries = {"full": {"images": 100}, "geometry": {"images": 20}}

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
        """Which Hessian of what, and its one parameter."""
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
        """Per image [n]: norms, share of zeros, largest eigenvalues [n, e], bound, change; one picture of H.

        Raises:
            NotMeasurable: when there is no image, or this Hessian cannot be had of this network.
        """
        images, labels = evaluation.images[: self.images], evaluation.labels[: self.images]
        if len(images) == 0:
            raise NotMeasurable("there is no test image")
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
        """Every score it writes, the main one first."""
        zeros, bound = ("near_zero_eigenvalues", "largest_eigenvalue"), ("bound", "bound_first_order")
        parts = (*zeros, *bound, "change", "bound_holds")
        return self.name, *(f"{self.name}/{part}" for part in parts)

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """Means, and the share of images within the bound."""
        what = f"{self._named()}; pixels in [0, 1]"
        zeros = f"|λ| < {NEAR_ZERO:g}"
        if self.hessian == "ce_exact":
            d = int(arrays["dimension"].item())
            zeros += (
                f"; with K classes H has rank K − 1 at most, so of d = {d} at least (d − K + 1)/d are zero"
            )
        bound, n = arrays["first_order"] + arrays["second_order"], len(arrays["change"])
        slack = _ROUNDING * (np.abs(arrays["value"]) + bound)
        held = int(np.count_nonzero(arrays["change"] <= bound + slack))
        low, high = wilson(held, n)
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

    def charts(self, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
        """H of the first image with norms and eigenvalues, and the bound beside the change."""
        return [self._statistics(arrays), self._bounds(arrays, record)]

    def _named(self) -> str:
        detail = {"finite_difference": f", step {self.step:g}", "softplus": f", β = {self.beta:g}"}
        return f"{self.hessian}{detail.get(self.hessian, '')}: of the {EXPANDED[self.hessian]}"

    def _statistics(self, arrays: Mapping[str, np.ndarray]) -> Chart:
        n, dimension, picture = len(arrays["l1"]), int(arrays["dimension"].item()), arrays["picture"]
        whole = dimension == len(picture)
        centers = ((np.arange(len(picture)) + 0.5) * dimension / len(picture) - 0.5).tolist()
        spectra = arrays["eigenvalues"]
        ranks = [float(rank) for rank in range(1, spectra.shape[1] + 1)]
        panels = [
            Panel(
                title="H of the first image" if whole else "mean |H_ij| of the first image",
                x=Axis(label="pixel j"),
                y=Axis(label="pixel i"),
                square=True,
                marks=[
                    Heatmap(
                        x=centers,
                        y=centers,
                        z=picture.tolist(),
                        unit=self._unit(),
                        scale="diverging" if whole else "sequential",
                    )
                ],
            ),
            Panel(
                title="eigenvalues",
                x=Axis(label="rank"),
                y=Axis(label=f"|λ| ({self._unit()})", log=True),
                marks=[
                    Line(
                        name="median over images, and quartiles",
                        x=ranks,
                        y=_positive(np.median(spectra, axis=0)),
                        low=_positive(np.quantile(spectra, 0.25, axis=0)),
                        high=_positive(np.quantile(spectra, 0.75, axis=0)),
                        markers=len(ranks) <= 20,
                    )
                ],
            ),
        ]
        if marks := histograms({"‖H‖₁": arrays["l1"]}):
            panels.append(
                Panel(
                    title="norms",
                    x=Axis(label=f"‖H‖₁ ({self._unit()})"),
                    y=Axis(label="share of images", low=0),
                    marks=list(marks),
                )
            )
        return Chart(
            name="surface-hessian-statistics",
            title="Hessian around test images",
            source="decision-surface paper, figure 8",
            caption=f"{self._named()}. {n} test images, pixels in [0, 1]; the {len(ranks)} largest of {dimension} "
            f"eigenvalues; on average {arrays['near_zero'].mean():.1%} of all are below {NEAR_ZERO:g}.",
            panels=panels,
        )

    def _bounds(self, arrays: Mapping[str, np.ndarray], record: Record) -> Chart:
        bound, change = arrays["first_order"] + arrays["second_order"], arrays["change"]
        end = max(float(bound.max()), float(change.max()), 1e-12)
        unit = "nats" if self.hessian == "ce_exact" else "logits"
        return Chart(
            name="surface-second-order-bound",
            title="Second-order bound and actual change",
            source="decision-surface paper, equation 9",
            caption=f"Each point is one of {len(bound)} test images at the δ that maximizes J·δ within "
            f"{norm_sign(record.threat.norm)} ε = {record.threat.eps}; {self._named()}. The bound holds "
            "above the line, and is no promise: what the expansion leaves out can take a change beyond it.",
            panels=[
                Panel(
                    x=Axis(label=f"|F(x + δ) − F(x)| ({unit})", low=0),
                    y=Axis(label=f"Σ|J_i||δ_i| + ½Σ|λ_i|y_i² ({unit})", low=0),
                    marks=[
                        Points(name="test image", x=change.tolist(), y=bound.tolist()),
                        Line(name="change = bound", x=[0.0, end], y=[0.0, end]),
                    ],
                )
            ],
        )

    def _unit(self) -> str:
        return "nats per pixel²" if self.hessian == "ce_exact" else "logits per pixel²"


def _positive(values: np.ndarray) -> list[float | None]:
    """For a logarithmic axis: nothing where there is nothing to see."""
    return [finite(value) if value >= NEAR_ZERO else None for value in values.tolist()]
