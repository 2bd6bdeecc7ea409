"""Chart of the decision function."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Panel, Rule
from bench.charts.histograms import histograms
from bench.charts.words import attack_title
from bench.core.record import Record
from metrics.surface.decision_function import DecisionFunction


def draw(metric: DecisionFunction, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Histograms of L, clean and attacked."""
    marks = histograms({"clean": arrays["clean"], f"under {attack_title(metric.attack)}": arrays["attacked"]})
    if not marks:
        return []
    return [
        Chart(
            name="surface-margin",
            title="Decision function of test images",
            source="decision-surface paper, equation 2",
            caption=f"L = Z_t − max Z_i of {len(arrays['clean'])} test images, clean and under "
            f"{attack_title(metric.attack)} at {record.threat.title}; right of "
            "the line an image is classified correctly. An attack stops at the first misclassified iterate, so "
            "broken images lie just left of the line.",
            panels=[
                Panel(
                    x=Axis(label="decision function L (logits)"),
                    y=Axis(label="share of images", low=0),
                    marks=[*marks, Rule(name="decision boundary", x=0.0)],
                )
            ],
        )
    ]
