"""Charts of Jacobians."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Histogram, Panel, Rule, Tiles
from bench.charts.histograms import histograms, thumbnails
from bench.charts.words import class_titles, norm_sign
from bench.core.record import Record
from metrics.surface.input_jacobian import EDGES, InputJacobian


def draw(metric: InputJacobian, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Distributions of entries, norms and margins, and pictures of Jacobians."""
    charts = [_statistics(metric, arrays, record)]
    if len(arrays["jacobian"]):
        charts.append(_pictures(arrays, record))
    return charts


def _statistics(metric: InputJacobian, arrays: Mapping[str, np.ndarray], record: Record) -> Chart:
    n, counts, zeros = len(arrays["l1"]), arrays["entries"], int(arrays["zero_entries"].item())
    entries = int(counts.sum()) + zeros
    seen = np.flatnonzero(counts) if counts.any() else np.arange(1)
    bins = slice(seen[0], seen[-1] + 1)
    panels = [
        Panel(
            title="entries",
            x=Axis(label="|J_i| (logits per pixel unit)", log=True),
            y=Axis(label="share of entries", low=0),
            marks=[
                Histogram(
                    edges=EDGES[seen[0] : seen[-1] + 2].tolist(),
                    values=(counts[bins] / entries).tolist(),
                ),
                Rule(name=f"|J_i| = {metric.threshold:g}", x=metric.threshold),
            ],
        )
    ]
    ratio = arrays["first_order_margin"]
    for title, values, label, rules in (
        ("norms", arrays["l1"], "‖J‖₁ (logits per pixel unit)", []),
        ("first-order margins", ratio, "L / (ε‖J‖)", [Rule(name="L = ε‖J‖", x=1.0)]),
    ):
        if marks := histograms({title: values}):
            panels.append(
                Panel(
                    title=title,
                    x=Axis(label=label),
                    y=Axis(label="share of images", low=0),
                    marks=[*marks, *rules],
                )
            )
    return Chart(
        name="surface-jacobian-statistics",
        title="Jacobian of the decision function",
        source="decision-surface paper, figure 8",
        caption=f"J = ∂L/∂x at {n} test images, pixels in [0, 1]. {zeros / entries:.1%} of the entries are "
        f"exactly zero and are not drawn. Right of L = ε‖J‖ ({norm_sign(record.threat.norm)} "
        f"ε = {record.threat.eps}) the linearized network withstands every perturbation.",
        panels=panels,
    )


def _pictures(arrays: Mapping[str, np.ndarray], record: Record) -> Chart:
    captions = class_titles(arrays["label"][: len(arrays["jacobian"])].tolist(), record.dataset.classes)
    # A single channel of a Jacobian is hard to read, so the channels are summed.
    jacobians = thumbnails(arrays["jacobian"].astype(np.float64)).sum(axis=1)
    images = thumbnails(arrays["image"].astype(np.float64))
    shown = images.transpose(0, 2, 3, 1) if images.shape[1] == 3 else images.mean(axis=1)
    norms = [f"{caption}, ‖J‖₁ {norm:.3g}" for caption, norm in zip(captions, arrays["l1"], strict=False)]
    return Chart(
        name="surface-jacobian-images",
        title="Jacobians of test images",
        source="decision-surface paper, figures 10 and 15",
        caption=f"The first {len(captions)} test images and J = ∂L/∂x below, summed over colors, each over its "
        "own range and centered on zero: positive where a brighter pixel raises L, negative where it lowers L. "
        "The paper finds the object's own shape in the Jacobians of robust networks.",
        panels=[
            Panel(title="test images", marks=[Tiles(captions=captions, values=shown.tolist())]),
            Panel(
                title="Jacobians", marks=[Tiles(captions=norms, values=jacobians.tolist(), scale="diverging")]
            ),
        ],
    )
