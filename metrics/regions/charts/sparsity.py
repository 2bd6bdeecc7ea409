"""Chart of sparsity by layer."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Bars, Chart, Panel, Rule
from bench.core.record import Record
from metrics.regions.sparsity import Sparsity


def draw(metric: Sparsity, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """The share by layer, and the mean."""
    shares = arrays["zeros"] / arrays["values"]
    bars = Bars(
        name="share of exact zeros",
        categories=[f"{depth}. {layer}" for depth, layer in enumerate(arrays["layer"], 1)],
        values=shares.tolist(),
    )
    return [
        Chart(
            name="regions-sparsity",
            title="Sparsity by activation layer",
            source="P2, figure 12",
            caption=f"Share of outputs that are exactly zero over {arrays['images'].item()} training images; "
            "the line is the mean over the layers, which the paper compares with the PRS ratio.",
            panels=[
                Panel(
                    x=Axis(label="activation layer"),
                    y=Axis(label="share of exact zeros", low=0, high=1),
                    marks=[bars, Rule(name="mean over layers", y=float(shares.mean()))],
                )
            ],
        )
    ]
