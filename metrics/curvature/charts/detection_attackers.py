"""Chart of the detector by size of the perturbation and by attacker."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Line, Panel
from bench.core.record import Record
from bench.geometry.detection import FEWEST, auc, roc
from metrics.curvature.detection_attackers import (
    ALPHAS,
    DetectionAttackers,
    length_ratios,
    usable,
    usable_rows,
)


def draw(metric: DetectionAttackers, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Figure 8: true against false positives by α, and against the aware attacker."""
    titles = {f"alpha{alpha}": _strength(arrays, alpha) for alpha in ALPHAS}
    titles["aware"] = "knows the detector"
    lines = []
    for attacker, title in titles.items():
        clean, perturbed = usable(arrays, attacker)
        if len(clean) < FEWEST:
            continue
        false, true = roc(clean, perturbed)
        lines.append(
            Line(
                name=f"{title}: AUC {auc(clean, perturbed):.2f}, n = {len(clean)}",
                x=(100 * false).tolist(),
                y=(100 * true).tolist(),
            )
        )
    if not lines:
        return []
    box = (
        "; in brackets, how much the pixel box leaves of it (median)" if metric.clip else ", clipped nowhere"
    )
    chance = Line(name="chance", x=[0.0, 100.0], y=[0.0, 100.0])
    return [
        Chart(
            name="curvature-detection-roc",
            title="The curvature detector by size of the perturbation and by attacker",
            source="classification-regions paper, figure 8",
            caption="Each point is a threshold on ρ; above it an image is flagged. α multiplies DeepFool's "
            f"perturbation{box}. The paper plots clean images kept against perturbed ones missed, which is the "
            "same curve rotated. An attacker who knows the detector lowers ρ while the classifier stays fooled; "
            "where a curve is below the diagonal, its images have a lower ρ than clean ones.",
            panels=[
                Panel(
                    x=Axis(label="clean images flagged (%)", low=0, high=100),
                    y=Axis(label="perturbed images flagged (%)", low=0, high=100),
                    square=True,
                    marks=[*lines, chance],
                )
            ],
        )
    ]


def _strength(arrays: Mapping[str, np.ndarray], alpha: int) -> str:
    """α, with the factor that is left of it in the pixel box (median over the images), where that is smaller."""
    longer = length_ratios(arrays, f"alpha{alpha}", usable_rows(arrays, f"alpha{alpha}"))
    factor = f"{np.median(longer):.1f}" if len(longer) else f"{alpha:.1f}"
    return f"α = {alpha}" + (f" ({factor} in the box)" if factor != f"{alpha:.1f}" else "")
