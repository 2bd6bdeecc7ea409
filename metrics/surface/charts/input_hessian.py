"""Charts of Hessians and of the second-order bound."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Heatmap, Line, Panel, Points
from bench.charts.histograms import histograms
from bench.core.record import Record, finite
from bench.geometry.hessian import NEAR_ZERO
from metrics.surface.input_hessian import InputHessian


def draw(metric: InputHessian, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """H of the first image with norms and eigenvalues, and the bound beside the change."""
    return [_statistics(metric, arrays), _bounds(metric, arrays, record)]


def _statistics(metric: InputHessian, arrays: Mapping[str, np.ndarray]) -> Chart:
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
                    unit=_unit(metric),
                    scale="diverging" if whole else "sequential",
                )
            ],
        ),
        Panel(
            title="eigenvalues",
            x=Axis(label="rank"),
            y=Axis(label=f"|λ| ({_unit(metric)})", log=True),
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
                x=Axis(label=f"‖H‖₁ ({_unit(metric)})"),
                y=Axis(label="share of images", low=0),
                marks=list(marks),
            )
        )
    return Chart(
        name="surface-hessian-statistics",
        title="Hessian around test images",
        source="decision-surface paper, figure 8",
        caption=f"{metric.function()}. {n} test images, pixels in [0, 1]; the {len(ranks)} largest of {dimension} "
        f"eigenvalues; on average {arrays['near_zero'].mean():.1%} of all are below {NEAR_ZERO:g}.",
        panels=panels,
    )


def _bounds(metric: InputHessian, arrays: Mapping[str, np.ndarray], record: Record) -> Chart:
    bound, change = arrays["first_order"] + arrays["second_order"], arrays["change"]
    end = max(float(bound.max()), float(change.max()), 1e-12)
    unit = "nats" if metric.hessian == "ce_exact" else "logits"
    return Chart(
        name="surface-second-order-bound",
        title="Second-order bound and actual change",
        source="decision-surface paper, equation 9",
        caption=f"Each point is one of {len(bound)} test images at the δ that maximizes J·δ within "
        f"{record.threat.title}; {metric.function()}. The bound holds "
        "above the line. It is not guaranteed: terms that the expansion leaves out can move points below the line.",
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


def _unit(metric: InputHessian) -> str:
    return "nats per pixel²" if metric.hessian == "ce_exact" else "logits per pixel²"


def _positive(values: np.ndarray) -> list[float | None]:
    """Values for a logarithmic axis: None below `NEAR_ZERO`."""
    return [finite(value) if value >= NEAR_ZERO else None for value in values.tolist()]
