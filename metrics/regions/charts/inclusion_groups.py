"""Charts of images in populated regions beside the others."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Chart
from bench.core.record import Record
from metrics.regions.charts.group_robustness import any_image, by_eps, confidence_panels
from metrics.regions.inclusion_groups import InclusionGroups


def draw(metric: InclusionGroups, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Robust accuracy by ε and attack, and confidence, of both groups."""
    if not any_image(metric, arrays):
        return []
    return [
        by_eps(
            metric,
            arrays,
            record,
            name="regions-inclusion-groups",
            title="Robust accuracy inside and outside of populated regions",
            source="P1, figure 7",
            caption="Correctly classified test images whose region some training image populates (included), "
            "and the others; bands are 95 % Wilson intervals. The paper finds the included ones more robust.",
        ),
        Chart(
            name="regions-inclusion-confidence",
            title="Confidence inside and outside of populated regions",
            caption="Logit and softmax probability of the same images' labels, without attack.",
            panels=confidence_panels(metric, arrays),
        ),
    ]
