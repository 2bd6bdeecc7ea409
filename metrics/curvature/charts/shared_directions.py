"""Charts of directions along which the boundary is curved near every image."""

import math
from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Bars, Chart, Line, Panel, Rule, Tiles
from bench.core.intervals import proportion_interval
from bench.core.record import Record
from metrics.curvature.shared_directions import NOISE, PROJECTED, SharedDirections

_TILES = 16


def draw(metric: SharedDirections, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Figures 5 and 6, and table I as bars."""
    charts = [_noise(metric, arrays), _projections(metric, arrays)]
    return [_directions(metric, arrays), *charts]


def _directions(metric: SharedDirections, arrays: Mapping[str, np.ndarray]) -> Chart:
    rho, basis = arrays["relative_curvature"], arrays["basis"]
    panels = []
    if rho.size:
        low, high = np.quantile(rho, (0.25, 0.75), axis=0)
        panels.append(
            Panel(
                title="relative curvature on unseen points",
                x=Axis(label="i, shared direction"),
                y=Axis(label="ρ_i (1: as a random direction)", log=True),
                marks=[
                    Line(
                        name="ρ_i",
                        x=list(range(1, len(basis) + 1)),
                        y=_positive(rho.mean(axis=0)),
                        low=_positive(low),
                        high=_positive(high),
                    ),
                    Rule(name="random direction", y=1.0),
                ],
            )
        )
    pictures = [_picture(row.reshape(arrays["shape"])) for row in basis[:_TILES]]
    captions = [f"u_{number}" for number in range(1, len(pictures) + 1)]
    panels.append(
        Panel(
            title="the first shared directions",
            marks=[Tiles(captions=captions, values=pictures, scale="diverging")],
        )
    )
    return Chart(
        name="curvature-shared-directions",
        title="Directions along which the boundary is curved near every image",
        source="classification-regions paper, figure 5",
        caption="u_i: singular vectors of the principal directions of "
        f"{arrays['used'].item()} training images. ρ_i: mean over n = {len(rho)} boundary points near unseen "
        "test images, band: quartiles.",
        panels=panels,
    )


def _noise(metric: SharedDirections, arrays: Mapping[str, np.ndarray]) -> Chart:
    lines = []
    for side, name in (("inside", "noise in S"), ("outside", "noise in its complement")):
        changed = arrays[f"changed_{side}"]
        limits = [proportion_interval(int(row.sum()), len(row)) for row in changed]
        lines.append(
            Line(
                name=name,
                x=[0.0, *NOISE],
                y=[0.0, *(100 * changed.mean(axis=1)).tolist()],
                low=[0.0, *(100 * low for low, _ in limits)],
                high=[0.0, *(100 * high for _, high in limits)],
                markers=True,
            )
        )
    count, dimension = arrays["basis"].shape
    return Chart(
        name="curvature-noise",
        title="Images that change their class under noise in and out of the shared directions",
        source="classification-regions paper, figure 6",
        caption=f"S: span of {count} shared directions of {dimension}. n = {arrays['changed_inside'].shape[1]} "
        "test images, one draw each, 95 % Wilson intervals; not clipped to the pixel box.",
        panels=[
            Panel(
                x=Axis(label="‖noise‖₂ / median ‖x‖₂", low=0),
                y=Axis(label="class changed (%)", low=0, high=100),
                marks=lines,
            )
        ],
    )


def _projections(metric: SharedDirections, arrays: Mapping[str, np.ndarray]) -> Chart:
    scores = metric.reduce(arrays)
    shown = [scores[metric.name if kind == "adversarial" else f"{metric.name}/{kind}"] for kind in PROJECTED]
    count, dimension = arrays["basis"].shape
    return Chart(
        name="curvature-projection",
        title="How much of a perturbation lies in the span of the shared directions",
        source="classification-regions paper, table I",
        caption="Mean of ‖P_S v‖/‖v‖, 95 % intervals, n = "
        + ", ".join(str(score.n) for score in shown)
        + ". The line is √(m/d), the value of a random vector. The paper (LeNet, NiN): adversarial .64 and .60, "
        "random .25, difference .10 and .09, gradient .22 and .24, with m = 200 and d = 3072.",
        panels=[
            Panel(
                x=Axis(label="v"),
                y=Axis(label="‖P_S v‖ / ‖v‖", low=0, high=1),
                marks=[
                    Bars(
                        name="mean",
                        categories=list(PROJECTED.values()),
                        values=[score.value for score in shown],
                        low=[score.low for score in shown],
                        high=[score.high for score in shown],
                    ),
                    Rule(name="√(m/d)", y=math.sqrt(count / dimension)),
                ],
            )
        ],
    )


def _positive(values: np.ndarray) -> list[float | None]:
    """Values for a logarithmic axis: None where they are not positive."""
    return [float(value) if value > 0 else None for value in values]


def _picture(direction: np.ndarray) -> list:
    """A direction [C, H, W] as a picture: signed values for one channel, colors around gray for three."""
    if len(direction) == 3:
        largest = np.abs(direction).max() or 1.0
        return (0.5 + 0.5 * direction / largest).transpose(1, 2, 0).tolist()
    return direction.mean(axis=0).tolist()
