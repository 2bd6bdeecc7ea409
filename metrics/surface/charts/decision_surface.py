"""Charts of decision and loss surfaces."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Heatmap, Line, Panel, Points, Rule
from bench.charts.words import class_titles
from bench.core.intervals import mean_interval
from bench.core.record import Record, finite
from bench.geometry.surface import BETAS
from metrics.surface.decision_surface import BETA_TITLES, DecisionSurface


def draw(metric: DecisionSurface, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Decision and loss surfaces of each image, L along each β, and the surfaces around the weights."""
    charts = []
    for place in range(len(arrays["label"])):
        charts += [
            _around_image(arrays, record, place, "decision"),
            _around_image(arrays, record, place, "loss"),
        ]
    if len(arrays["line"]):
        charts.append(_profile_chart(arrays, record))
    if "parameter_loss" in arrays:
        charts.append(_weights_chart(arrays))
    return charts


def _around_image(arrays: Mapping[str, np.ndarray], record: Record, place: int, kind: str) -> Chart:
    (own,) = class_titles([int(arrays["label"][place])], record.dataset.classes)
    offsets = arrays["offset"].tolist()
    panels = [
        Panel(
            title=BETA_TITLES[beta],
            x=Axis(label="along α, random (ℓ∞, pixels in [0, 1])"),
            y=Axis(label="along β (ℓ∞, pixels in [0, 1])"),
            square=True,
            marks=[
                Heatmap(
                    x=offsets,
                    y=offsets,
                    z=_gaps(arrays[kind][place, at].T),
                    unit="L (logits)" if kind == "decision" else "cross-entropy (nats)",
                    scale="diverging" if kind == "decision" else "sequential",
                    contour=0.0 if kind == "decision" else None,
                ),
                Points(name="test image", x=[0.0], y=[0.0]),
            ],
        )
        for at, beta in enumerate(BETAS)
    ]
    what = "Decision surface" if kind == "decision" else "Loss surface"
    line = (
        " The line is L = 0, the decision boundary: below zero the image is misclassified."
        if kind == "decision"
        else ""
    )
    return Chart(
        name=f"surface-{kind}-{place + 1}",
        title=f"{what} around test image {arrays['test_index'][place]} ({own})",
        source="decision-surface paper, figures 4, 6, 7, 9, 13 and 14"
        if kind == "decision"
        else "decision-surface paper, figures 1b, 3, 4, 11 and 12",
        caption=f"V = F(x + iα + jβ) on {len(offsets)} x {len(offsets)} points, not clipped to the pixel box; α "
        f"and β have entries ±1, and L falls along β at the image.{line} Colors run over each panel's own range.",
        panels=panels,
    )


def _profile_chart(arrays: Mapping[str, np.ndarray], record: Record) -> Chart:
    lines = arrays["line"].astype(np.float64)
    offsets = arrays["offset"][-lines.shape[2] :].tolist()
    marks: list[Line | Rule] = []
    for at, beta in enumerate(BETAS):
        ends = [mean_interval(column) for column in lines[:, at].T]
        marks.append(
            Line(
                name=BETA_TITLES[beta],
                x=offsets,
                y=lines[:, at].mean(axis=0).tolist(),
                low=[low for low, _ in ends],
                high=[high for _, high in ends],
            )
        )
    marks.append(Rule(name="decision boundary", y=0.0))
    return Chart(
        name="surface-profiles",
        title="Decision function along each direction",
        source="decision-surface paper, figure 4",
        caption=f"Mean of L(x + jβ) over {len(lines)} correctly classified test images, with 95 % intervals; "
        "entries of β are ±1, so j is the ℓ∞ distance. The steeper L falls, the closer is the boundary.",
        panels=[
            Panel(
                x=Axis(label="j (ℓ∞, pixels in [0, 1])", low=0),
                y=Axis(label="L (logits)"),
                marks=list(marks),
            )
        ],
    )


def _weights_chart(arrays: Mapping[str, np.ndarray]) -> Chart:
    offsets = arrays["parameter_offset"].tolist()
    panels = []
    for kind, title, unit in (
        ("parameter_loss", "loss, random β", "mean cross-entropy (nats)"),
        ("parameter_decision", "decision function, random β", "mean L (logits)"),
        ("parameter_gradient_loss", "loss, β from the gradient of L", "mean cross-entropy (nats)"),
        ("parameter_gradient_decision", "decision function, β from the gradient of L", "mean L (logits)"),
    ):
        if kind not in arrays:  # older arrays have no surfaces along the gradient
            continue
        decision = kind.endswith("_decision")
        panels.append(
            Panel(
                title=title,
                x=Axis(label="along α (filter lengths)"),
                y=Axis(label="along β (filter lengths)"),
                square=True,
                marks=[
                    Heatmap(
                        x=offsets,
                        y=offsets,
                        z=_gaps(arrays[kind].T),
                        unit=unit,
                        scale="diverging" if decision else "sequential",
                        contour=0.0 if decision else None,
                    ),
                    Points(name="trained weights", x=[0.0], y=[0.0]),
                ],
            )
        )
    return Chart(
        name="surface-parameters",
        title="Surfaces around the weights",
        source="decision-surface paper, figures 1a and 2",
        caption=f"V = F(θ + iα + jβ), mean over {arrays['parameter_images'].item()} test images; α is random, "
        "and all directions are filter-normalized. L falls along β at the weights; the line is where its mean is 0."
        " The paper, which shows random directions, finds no relation between this surface and robustness.",
        panels=panels,
    )


def _gaps(values: np.ndarray) -> list[list[float | None]]:
    return [[finite(value) for value in row] for row in values.astype(np.float64).tolist()]
