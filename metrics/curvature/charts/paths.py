"""Chart of a path within a region."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Heatmap, Line, Panel, Points
from bench.core.record import Record
from metrics.curvature.paths import SCENARIOS, Connectivity


def draw(metric: Connectivity, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Figure 2: the regions around the straight line and around the path found."""
    if "section/straight/labels" not in arrays:
        return []
    names = record.dataset.classes
    titles = {"straight": "the straight line", "path": "the path found, its cross-sections stitched"}
    panels = []
    for side, title in titles.items():
        along, across, labels, corners = (
            arrays[f"section/{side}/{part}"].tolist() for part in ("along", "across", "labels", "corners")
        )
        panels.append(
            Panel(
                title=title,
                x=Axis(label="way from x₁ to x₂ (ℓ2, pixels in [0, 1])"),
                y=Axis(label="distance along r(x₁) (ℓ2, pixels in [0, 1])"),
                marks=[
                    Heatmap(x=along, y=across, z=labels, unit="class", scale="categorical", names=names),
                    Line(name="path", x=corners, y=[0.0] * len(corners), markers=True),
                    Points(name="ends", x=[corners[0], corners[-1]], y=[0.0, 0.0], labels=["x₁", "x₂"]),
                ],
            )
        )
    total = sum(len(arrays[f"{scenario}/found"]) for scenario in SCENARIOS)
    found = sum(int(arrays[f"{scenario}/found"].sum()) for scenario in SCENARIOS)
    return [
        Chart(
            name="curvature-path-cross-section",
            title="A path within one classification region",
            source="classification-regions paper, figure 2",
            caption="Colors are predicted classes. Each plane is spanned by a segment and by the direction in "
            f"which DeepFool leaves the region at x₁. The pair is one of {total}, of which {found} were "
            f"joined{_about_the_pair(arrays)}.",
            panels=panels,
        )
    ]


def _about_the_pair(arrays: Mapping[str, np.ndarray]) -> str:
    """Which pair is drawn, as the end of a sentence; empty where older arrays do not hold it."""
    if "section/scenario" not in arrays:
        return ""
    second = list(SCENARIOS.values())[arrays["section/scenario"].item()]
    deviation = arrays["section/deviation"].item()
    if deviation == 0:
        return f", all of them by the straight line. Here x₂ is {second}"
    return (
        f". Here x₂ is {second}, and the path leaves the straight line by {deviation:.2g} of its length, the most "
        "in its scenario"
    )
