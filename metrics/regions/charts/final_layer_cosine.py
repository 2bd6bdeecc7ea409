"""Chart of the cosines between the final layer's weights."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Heatmap, Panel
from bench.core.record import Record
from bench.geometry.cosines import mean_off_diagonal
from metrics.regions.final_layer_cosine import FinalLayerCosine

#: Classes in the heat map, at most.
_SHOWN = 100


def draw(metric: FinalLayerCosine, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """The matrix as a heat map."""
    matrix = arrays["cosine"][:_SHOWN, :_SHOWN]
    classes = [float(number) for number in range(len(matrix))]
    names = record.dataset.classes[: len(matrix)]
    few = len(matrix) <= 20 and len(names) == len(matrix)
    axis = Axis(label="class", ticks=classes, tick_labels=names) if few else Axis(label="class, from 0")
    left_out = len(arrays["cosine"]) - len(matrix)
    first = f"; the first {_SHOWN} of {len(arrays['cosine'])} classes" if left_out else ""
    return [
        Chart(
            name="regions-final-layer-cosine",
            title="Cosine similarity of the final layer's weights",
            source="P1, figure 6",
            caption=f"Cosine between the weight rows of two classes, mean off the diagonal "
            f"{mean_off_diagonal(arrays['cosine']):.3f}{first}. The closer to 1, the more the logits move "
            "together.",
            panels=[
                Panel(
                    x=axis,
                    y=axis,
                    square=True,
                    marks=[
                        Heatmap(x=classes, y=classes, z=matrix.tolist(), unit="cosine", scale="diverging")
                    ],
                )
            ],
        )
    ]
