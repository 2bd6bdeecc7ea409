"""Charts of images in major regions beside the others."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Chart
from bench.core.record import Record
from metrics.regions.charts.group_robustness import any_image, by_eps, confidence_panels
from metrics.regions.major_groups import MajorGroups


def draw(metric: MajorGroups, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Robust accuracy by ε and attack, and confidence, of both groups."""
    if not any_image(metric, arrays):
        return []
    return [
        by_eps(
            metric,
            arrays,
            record,
            name="regions-major-groups",
            title="Robust accuracy in major and in extra regions",
            source="P1, figure 8 (b)",
            caption="Training images in the region that most images of their class share (major), and the "
            "others (extra); bands are 95 % Wilson intervals. The paper finds the major ones more robust.",
        ),
        Chart(
            name="regions-major-confidence",
            title="Confidence in major and in extra regions",
            source="P1, figure 8 (c)",
            caption="Logit and softmax probability of the same images' labels, without attack; the paper's "
            "confidence is the logit.",
            panels=confidence_panels(metric, arrays),
        ),
    ]
