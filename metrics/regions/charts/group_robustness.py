"""Panels shared by the charts of metrics that compare two groups of images."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Line, Panel, Rule
from bench.charts.histograms import histograms
from bench.charts.words import attack_title, norm_sign
from bench.core.record import Record
from metrics.regions.group_robustness import GroupRobustness, points_of


def by_eps(metric: GroupRobustness, arrays: Mapping[str, np.ndarray], record: Record, **about: str) -> Chart:
    """Robust accuracy by ε, a panel for each attack and a line for each group.

    Args:
        arrays, record: as for `Metric.charts`.
        about: name, title, source and caption of the chart.
    """
    panels = []
    for number, attack in enumerate(arrays["attack"]):
        lines = [
            _line(name, arrays["eps"], right)
            for group, name in _names(metric, arrays).items()
            if (right := arrays[f"{group}_right"][number]).shape[1]
        ]
        if lines:
            threat = Rule(name="the threat's ε", x=float(arrays["eps"][arrays["at_threat"].item()]))
            panels.append(
                Panel(
                    title=attack_title(str(attack)),
                    x=Axis(label=f"ε ({norm_sign(record.threat.norm)}, pixels in [0, 1])", low=0),
                    y=Axis(label="robust accuracy", low=0, high=1),
                    marks=[*lines, threat],
                )
            )
    return Chart(panels=panels, **about)


def confidence_panels(metric: GroupRobustness, arrays: Mapping[str, np.ndarray]) -> list[Panel]:
    """Histograms of target logit and of confidence by group."""
    kinds = {"target_logit": "logit of the label", "confidence": "softmax probability of the label"}
    return [
        Panel(
            x=Axis(label=label),
            y=Axis(label="share of the group", low=0),
            marks=list(
                histograms(
                    {name: arrays[f"{group}_{kind}"] for group, name in _names(metric, arrays).items()}
                )
            ),
        )
        for kind, label in kinds.items()
    ]


def _names(metric: GroupRobustness, arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    return {group: f"{group} (n = {len(arrays[f'{group}_index'])})" for group in metric.groups}


def any_image(metric: GroupRobustness, arrays: Mapping[str, np.ndarray]) -> bool:
    """Whether any group has an image."""
    return any(len(arrays[f"{group}_index"]) for group in metric.groups)


def _line(name: str, eps: np.ndarray, right: np.ndarray) -> Line:
    points = points_of(eps, right)
    return Line(
        name=name,
        x=[point.x for point in points],
        y=[point.value for point in points],
        low=[point.low for point in points],
        high=[point.high for point in points],
        markers=True,
    )
