"""Charts of what probes measured during a training, by epoch: regions, robustness, the final layer."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bench.charts import Axis, Chart, Heatmap, Panel
from bench.charts.words import class_titles
from bench.core.record import Record
from bench.evaluation.record_charts import ACCURACY, EPOCH, captioned_chart, history_line
from bench.geometry.cosines import COSINES, from_upper_triangle

#: Epochs whose cosines are shown, at most.
MATRICES = 4
SHARE = Axis(label="share", low=0)


class _Series(NamedTuple):
    """A line: its name, the key of its values in the history, and the factor they are shown with."""

    name: str
    key: str
    scale: float = 1


class _Panel(NamedTuple):
    title: str
    y: Axis
    series: tuple[_Series, ...]


class _ProbeChart(NamedTuple):
    name: str
    title: str
    source: str
    caption: str
    panels: tuple[_Panel, ...]


_PRS_RATIO = _Panel("PRS ratio", SHARE, (_Series("PRS ratio", "prs_ratio"),))

CHARTS = (
    _ProbeChart(
        "regions-course",
        "Populated regions by epoch",
        "P1, figure 2",
        "PRS ratio: regions that training images populate, over their number. Inclusion ratio: test images in a "
        "populated region. A low PRS ratio at the same accuracy marks the network P1 calls B.",
        (
            _Panel(
                "accuracy",
                ACCURACY,
                (
                    _Series("training images", "train_accuracy", 100),
                    _Series("test images", "probe_accuracy", 100),
                ),
            ),
            _PRS_RATIO,
            _Panel("inclusion ratio", SHARE, (_Series("inclusion ratio", "inclusion_ratio"),)),
        ),
    ),
    _ProbeChart(
        "regions-course-robustness",
        "Populated regions and robustness by epoch",
        "P2, figure 5",
        "Do the PRS ratio and robust accuracy move together, and in opposite directions?",
        (
            _PRS_RATIO,
            _Panel(
                "accuracy",
                ACCURACY,
                (
                    _Series("test images", "probe_accuracy", 100),
                    _Series("test images under PGD-20", "probe_robust_accuracy", 100),
                ),
            ),
        ),
    ),
    _ProbeChart(
        "regions-course-final-layer",
        "Final layer and sparsity by epoch",
        "P1, figure 6",
        "Mean cosine between the final layer's rows, and the share of exact zeros among activations.",
        (
            _Panel(
                "final layer",
                Axis(label="mean cosine of its rows"),
                (_Series("cosine", "final_layer_cosine"),),
            ),
            _Panel("sparsity", Axis(label="share of zeros"), (_Series("sparsity", "sparsity"),)),
        ),
    ),
)


def probe_charts(record: Record) -> Iterator[Chart]:
    """Make every chart that the history has all values for; without probes there is none."""
    for plan in CHARTS:
        panels = [_draw_panel(record, panel) for panel in plan.panels]
        drawn = [panel for panel in panels if panel is not None]
        # Without one of its panels, the chart would not be the paper's figure that it names.
        if len(drawn) == len(panels):
            yield captioned_chart(record, plan.name, plan.title, plan.caption, drawn, plan.source)
    matrices = _cosine_matrices(record)
    if matrices:
        title = "Cosine similarity of the final layer's weights by epoch"
        caption = (
            f"Cosine between the final layer's rows of two classes, at {len(matrices)} of the probed epochs. "
            "The nearer to 1, the more all logits move together."
        )
        chart = captioned_chart(record, "regions-course-cosines", title, caption, matrices, "P1, figure 6")
        yield chart.model_copy(update={"rows": [len(matrices)]})


def _draw_panel(record: Record, panel: _Panel) -> Panel | None:
    """One panel; None where the history lacks one of its quantities."""
    lines = [history_line(record, *series) for series in panel.series]
    marks = [line for line in lines if line is not None]
    if len(marks) < len(lines):
        return None
    return Panel(title=panel.title, x=EPOCH, y=panel.y, marks=marks)


def _cosine_matrices(record: Record) -> list[Panel]:
    """Heatmaps of the cosines at a few probed epochs, evenly spread from the first to the last."""
    rows = [
        (row.get("epoch"), matrix)
        for row in record.history
        if (matrix := from_upper_triangle(row.get(COSINES))) is not None
    ]
    places = dict.fromkeys(
        np.linspace(0, len(rows) - 1, min(MATRICES, len(rows))).round().astype(int).tolist()
    )
    panels = []
    for epoch, matrix in (rows[place] for place in places):
        classes = [float(number) for number in range(len(matrix))]
        names = class_titles(range(len(matrix)), record.dataset.classes)
        axis = Axis(label="class", ticks=classes, tick_labels=names)
        heat = Heatmap(
            x=classes, y=classes, z=matrix.tolist(), unit="cosine", scale="diverging", low=-1, high=1
        )
        panels.append(Panel(title=f"epoch {epoch}", x=axis, y=axis, square=True, marks=[heat]))
    return panels
