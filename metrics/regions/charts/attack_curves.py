"""Chart of robust accuracy on training and on test images."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Chart
from bench.core.record import Record
from metrics.regions.attack_curves import AttackCurves
from metrics.regions.charts.group_robustness import any_image, by_eps


def draw(metric: AttackCurves, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Robust accuracy by ε of training and test images, a panel for each attack."""
    if not any_image(metric, arrays):
        return []
    return [
        by_eps(
            metric,
            arrays,
            record,
            name="attacks-train-test",
            title="Robust accuracy by ε on training and test images",
            source="P1, figure 3",
            caption="Share of images that an attack does not break, misclassified ones counted as broken; "
            "bands are 95 % Wilson intervals.",
        )
    ]
