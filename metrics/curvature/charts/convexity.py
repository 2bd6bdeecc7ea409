"""Chart of mixtures that stay in their region."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Line, Panel
from bench.core.record import Record
from metrics.curvature.convexity import Convexity


def draw(metric: Convexity, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Figure 3: the share of mixtures that stay in their region, by number of images."""
    curve = metric.curves(arrays).get(metric.name)
    if curve is None:
        return []
    points = curve.points
    line = Line(
        name="mixtures",
        x=[point.x for point in points],
        y=[100 * point.value for point in points],
        low=[100 * (point.low or 0) for point in points],
        high=[100 * (point.high or 0) for point in points],
        markers=True,
    )
    return [
        Chart(
            name="curvature-convexity",
            title="Mixtures of images of one region that stay in it",
            source="classification-regions paper, figure 3",
            caption="Dirichlet(1) mixtures of k test images of one predicted class, up to "
            f"{_most(arrays)} for each k; 95 % Wilson intervals. A convex region would stay at 100 %.",
            panels=[
                Panel(
                    x=Axis(label="k, images mixed"),
                    y=Axis(label="mixtures in the region (%)", low=0, high=100),
                    marks=[line],
                )
            ],
        )
    ]


def _most(arrays: Mapping[str, np.ndarray]) -> int:
    return max(len(stays) for stays in arrays.values())
