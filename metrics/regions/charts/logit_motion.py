"""Charts of logits before and after an attack."""

from collections.abc import Mapping, Sequence

import numpy as np

from bench.charts import Axis, Bars, Chart, Panel, Tiles
from bench.charts.histograms import histograms
from bench.charts.words import attack_title, class_titles
from bench.core.intervals import proportion_interval
from bench.core.record import Record
from metrics.regions.logit_motion import EXAMPLES, LogitMotion, by_outcome, cosines, examples

#: Classes in the bars of one example.
_CLASSES = 10


def draw(metric: LogitMotion, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Shares of outcomes, examples of logits before and after, and the cosines by outcome."""
    return [_bars(metric, arrays), _examples(metric, arrays, record), *_cosines(metric, arrays)]


def _bars(metric: LogitMotion, arrays: Mapping[str, np.ndarray]) -> Chart:
    outcomes = by_outcome(arrays)
    saturated = outcomes["failed_zero_gradient"] & ~outcomes["failed_zero_gradient_float64"]
    shown = {
        "succeeded": outcomes["succeeded"],
        "failed, gradient not zero": outcomes["failed_gradient"],
        "failed, zero in float32 alone": saturated,
        "failed, zero in float64 too": outcomes["failed_zero_gradient_float64"],
    }
    n = len(arrays["right"])
    intervals = [proportion_interval(int(np.count_nonzero(mask)), n) for mask in shown.values()]
    bars = Bars(
        name="share of images",
        categories=list(shown),
        values=[float(mask.mean()) for mask in shown.values()],
        low=[low for low, _ in intervals],
        high=[high for _, high in intervals],
    )
    wrong = int(np.count_nonzero(~arrays["right"]))
    return Chart(
        name="regions-zero-gradient",
        title=f"Why {attack_title(metric.attack)} fails",
        source="P1, figure 5 (a)",
        caption=f"Outcomes on {n} test images by the input gradient at the clean image, with 95 % Wilson "
        f"intervals; {wrong} that are misclassified without attack count as succeeded. An attack that fails "
        "because its gradient is zero says nothing about robustness.",
        panels=[
            Panel(x=Axis(label="outcome"), y=Axis(label="share of test images", low=0, high=1), marks=[bars])
        ],
    )


def _examples(metric: LogitMotion, arrays: Mapping[str, np.ndarray], record: Record) -> Chart:
    names, cosine = record.dataset.classes, cosines(arrays["before"], arrays["after"])
    panels: list[Panel] = []
    rows = []
    for index, outcome in examples(arrays["right"], arrays["broken"]):
        before, after = arrays["before"][index], arrays["after"][index]
        classes = np.sort(np.argsort(-np.maximum(before, after), kind="stable")[:_CLASSES])
        labels = class_titles(classes.tolist(), names)
        (own,) = class_titles([int(arrays["label"][index])], names)
        angle = f", cosine {cosine[index]:.2f}" if np.isfinite(cosine[index]) else ""
        pictures = _pictures(arrays, index, names)
        panels += pictures
        rows.append(len(pictures) + 1)
        panels.append(
            Panel(
                title=f"image {index} ({own}): attack {outcome}{angle}",
                x=Axis(label="class"),
                y=Axis(label="logit"),
                marks=[
                    Bars(name="before", categories=labels, values=before[classes].astype(float).tolist()),
                    Bars(name="after", categories=labels, values=after[classes].astype(float).tolist()),
                ],
            )
        )
    return Chart(
        name="regions-logits-before-after",
        title=f"Logits before and after {attack_title(metric.attack)}",
        source="P1, figure 5 (b)",
        caption=f"The first {EXAMPLES} test images of each outcome, the {_CLASSES} largest logits of each. "
        "Where the logits move in parallel, the prediction stays the same.",
        panels=panels,
        rows=rows if max(rows) > 1 else [],
    )


def _cosines(metric: LogitMotion, arrays: Mapping[str, np.ndarray]) -> list[Chart]:
    right, broken = arrays["right"], arrays["broken"]
    cosine = cosines(arrays["before"], arrays["after"])
    groups = {"attack succeeded": cosine[right & broken], "attack failed": cosine[right & ~broken]}
    marks = histograms({f"{name} (n = {len(values)})": values for name, values in groups.items()})
    if not marks:
        return []
    return [
        Chart(
            name="regions-logit-cosine",
            title=f"Direction of the logits before and after {attack_title(metric.attack)}",
            source="P1, figure 5 (b)",
            caption="Cosine between an image's logits before and after the attack; 1 means the same direction.",
            panels=[Panel(x=Axis(label="cosine"), y=Axis(label="share of images", low=0), marks=list(marks))],
        )
    ]


def _pictures(arrays: Mapping[str, np.ndarray], index: int, names: Sequence[str]) -> list[Panel]:
    """An example without and under attack; none where older arrays hold no pictures."""
    (place,) = np.nonzero(arrays.get("shown_index", np.empty(0)) == index)
    if len(place) == 0:
        return []
    pair = np.stack([arrays[kind][place[0]] for kind in ("shown_clean", "shown_attacked")])
    pair = pair.astype(np.float64).clip(0, 1)
    colored = pair.shape[1] == 3
    shown = pair.transpose(0, 2, 3, 1) if colored else pair.mean(axis=1)
    predicted = [int(np.argmax(arrays[when][index])) for when in ("before", "after")]
    captions = [
        f"{when}: {name}"
        for when, name in zip(("before", "after"), class_titles(predicted, names), strict=True)
    ]
    ends = {} if colored else {"low": 0.0, "high": 1.0}
    return [Panel(title=f"image {index}", marks=[Tiles(captions=captions, values=shown.tolist(), **ends)])]
