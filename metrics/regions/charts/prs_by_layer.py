"""Chart of the PRS ratio by layer."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Bars, Chart, Panel
from bench.core.record import Record
from metrics.regions.prs_by_layer import PRSByLayer


def draw(metric: PRSByLayer, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """The ratio by layer."""
    n = int(arrays["images"].item())
    bars = Bars(
        name="PRS ratio",
        categories=[f"{depth}. {layer}" for depth, layer in enumerate(arrays["layer"], 1)],
        values=(arrays["regions"] / n).tolist(),
    )
    return [
        Chart(
            name="regions-by-layer",
            title="PRS ratio by layer",
            source="P1, figure 2 (a)",
            caption=f"Distinct sign patterns of {n} training images over their number, first layer first. "
            f"1: every image has a region of its own; {1 / n:.1e}: all share one.",
            panels=[
                Panel(
                    x=Axis(label="layer"),
                    y=Axis(label="PRS ratio (regions / images)", low=0, high=1),
                    marks=[bars],
                )
            ],
        )
    ]
