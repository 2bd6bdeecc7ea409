"""Charts of principal curvatures."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Bars, Chart, Line, Panel, Rule
from bench.core.record import Record
from metrics.curvature.curvature_profile import CurvatureProfile

#: Points of the drawn profile, at most; a full profile has one for each pixel.
_DRAWN = 400


def draw(metric: CurvatureProfile, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Figure 4, the mean profile of the principal curvatures; table II, the shares with a positive mean."""
    curvatures = arrays["curvatures"]
    known = curvatures[np.isfinite(curvatures).all(axis=1)]
    if known.size == 0:
        return []
    dimension, width = int(arrays["dimension"].item()), known.shape[1]
    rank = np.arange(1, width + 1)
    if width < dimension - 1:
        # Lanczos computes the two ends; the ranks between them stay empty.
        rank = np.where(rank > width // 2, rank + dimension - 1 - width, rank)
    shown = np.unique(np.linspace(0, width - 1, min(width, _DRAWN)).round().astype(int))
    halves = [shown[rank[shown] == shown + 1], shown[rank[shown] != shown + 1]]
    titles = ("principal curvatures", "") if width == dimension - 1 else ("the lowest", "the highest")
    quartiles = np.quantile(known, (0.25, 0.75), axis=0)
    lines = [
        Line(
            name=name,
            x=rank[part].tolist(),
            y=known.mean(axis=0)[part].tolist(),
            low=quartiles[0][part].tolist(),
            high=quartiles[1][part].tolist(),
        )
        for name, part in zip(titles, halves, strict=True)
        if len(part)
    ]
    between = "" if width == dimension - 1 else f" Only the {width} at the two ends were computed."
    return [
        Chart(
            name="curvature-profile",
            title="Principal curvatures of the decision boundary near clean images",
            source="classification-regions paper, figure 4",
            caption=f"Mean over n = {len(known)} boundary points z = x + r(x), band: quartiles; "
            f"F = f_predicted − f_other, step h = {arrays['h'].item():.3f}.{between}",
            panels=[
                Panel(
                    x=Axis(label=f"rank i of {dimension - 1} principal curvatures"),
                    y=Axis(label="κ_i (1/ℓ2 distance, pixels in [0, 1])"),
                    marks=[*lines, Rule(name="flat", y=0.0)],
                )
            ],
        ),
        _signs(metric, arrays),
    ]


def _signs(metric: CurvatureProfile, arrays: Mapping[str, np.ndarray]) -> Chart:
    scores = metric.reduce(arrays)
    shares = [scores[f"curvature_sign/{name}"] for name in ("clean", "perturbed")]

    def percent(value: float | None) -> float | None:
        return None if value is None else 100 * value

    return Chart(
        name="curvature-sign",
        title="Boundary points with a positive mean curvature",
        source="classification-regions paper, table II",
        caption="Seen from the predicted class, F = f_predicted − f_other. The paper: 97 % and 94 % near clean "
        "images, 4 % and 7 % near perturbed ones (LeNet, NiN on CIFAR-10). "
        f"n = {shares[0].n} and {shares[1].n}, 95 % Wilson intervals.",
        panels=[
            Panel(
                x=Axis(label="near"),
                y=Axis(label="positive mean curvature (%)", low=0, high=100),
                marks=[
                    Bars(
                        name="share",
                        categories=["clean images", "perturbed images"],
                        values=[percent(share.value) for share in shares],
                        low=[percent(share.low) for share in shares],
                        high=[percent(share.high) for share in shares],
                    )
                ],
            )
        ],
    )
