"""Charts of distances to major regions."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Bars, Chart, Panel, Points
from bench.charts.histograms import histograms
from bench.charts.words import attack_title, class_titles
from bench.core.record import Record
from metrics.regions.region_distance import (
    BROKEN,
    SETS,
    SURVIVED,
    RegionDistance,
    distances_of,
    mean_distance,
)

#: Classes in one panel of bars or one list, at most.
_SHOWN = 20


def draw(metric: RegionDistance, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Distances by outcome, against the logit of the label, and by class."""
    found = {outcome: distances_of(arrays, outcome) for outcome in (BROKEN, SURVIVED)}
    names = {
        BROKEN: f"attack succeeded (n = {len(found[BROKEN])})",
        SURVIVED: f"attack failed (n = {len(found[SURVIVED])})",
    }
    marks = histograms({names[outcome]: distances for outcome, distances in found.items()})
    if not marks:
        return []
    distance = Axis(label="distance to the mean (ℓ2, feature units)", low=0)
    panels = [Panel(x=distance, y=Axis(label="share of images", low=0), marks=list(marks))]
    known = np.isfinite(arrays["distance"])
    points = [
        Points(
            name=name,
            x=arrays["distance"][chosen].tolist(),
            y=arrays["target_logit"][chosen].astype(float).tolist(),
        )
        for outcome, name in names.items()
        if (chosen := known & (arrays["outcome"] == outcome)).any()
    ]
    panels.append(Panel(x=distance, y=Axis(label="logit of the label"), marks=list(points)))
    classes = len(arrays["major_size"])
    labels = record.dataset.classes
    caption = (
        f"Clean, correctly classified {SETS[metric.split]} images by the outcome of "
        f"{attack_title(metric.attack)}. The paper finds training images far from the mean vulnerable, and those "
        "near it confident."
    )
    whole = np.flatnonzero(arrays["fell_back"]).tolist()
    if classes <= _SHOWN and len(labels) == classes:
        panels.append(_class_panel(arrays, names, labels, whole))
        caption += (
            " By class: mean distance and 95 % t interval, none for a single image; "
            f"n {_counts(arrays, labels)}."
        )
    return [
        Chart(
            name="regions-distance",
            title=f"Distance to the mean of {_mean_of(len(whole), int((arrays['major_size'] > 0).sum()))}",
            source="P1, figure 9",
            caption=caption + _fallback(metric, whole, arrays, labels),
            panels=panels,
        )
    ]


def _fallback(
    metric: RegionDistance, whole: list[int], arrays: Mapping[str, np.ndarray], labels: list[str]
) -> str:
    """Sentence of the caption on the classes whose mean is that of the whole class."""
    if not whole:
        return ""
    classes = int((arrays["major_size"] > 0).sum())
    which = ", ".join(class_titles(whole[:_SHOWN], labels))
    which = "" if len(whole) == classes else f": {which}{', …' if len(whole) > _SHOWN else ''}"
    return (
        f" {len(whole)} of {classes} classes have a major region of fewer than {metric.min_count} images and "
        f"take the mean of the whole class{which}."
    )


def _mean_of(fallbacks: int, classes: int) -> str:
    """Name of what the mean is taken over, when it is the whole class for some of the classes."""
    if not fallbacks:
        return "the major region"
    return "the class" if fallbacks == classes else "the major region or of the class"


def _by_class(arrays: Mapping[str, np.ndarray], outcome: int) -> list[np.ndarray]:
    chosen = (arrays["outcome"] == outcome) & np.isfinite(arrays["distance"])
    return [
        arrays["distance"][chosen & (arrays["label"] == number)]
        for number in range(len(arrays["major_size"]))
    ]


def _class_panel(
    arrays: Mapping[str, np.ndarray], names: Mapping[int, str], labels: list[str], whole: list[int]
) -> Panel:
    """Mean distances by class and outcome, with intervals; dots mark classes with the mean of the whole class."""
    marks: list[Bars | Points] = []
    for outcome, name in names.items():
        scores = [mean_distance(own, "none") for own in _by_class(arrays, outcome)]
        marks.append(
            Bars(
                name=name,
                categories=labels,
                values=[score.value for score in scores],
                low=[score.low for score in scores],
                high=[score.high for score in scores],
            )
        )
    if whole and len(whole) < np.count_nonzero(arrays["major_size"]):
        ends = [end for mark in marks if isinstance(mark, Bars) for end in (*mark.values, *mark.high)]
        top = 1.05 * max(end for end in ends if end is not None)
        marks.append(
            Points(
                name="to the mean of the whole class",
                x=[float(number) for number in whole],
                y=[top] * len(whole),
            )
        )
    return Panel(x=Axis(label="class"), y=Axis(label="mean distance", low=0), marks=list(marks))


def _counts(arrays: Mapping[str, np.ndarray], labels: list[str]) -> str:
    """The number of images behind each pair of bars, for the caption."""
    pairs = zip(labels, _by_class(arrays, BROKEN), _by_class(arrays, SURVIVED), strict=True)
    counts = ", ".join(f"{name} {len(broken)}/{len(survived)}" for name, broken, survived in pairs)
    return f"(succeeded/failed): {counts}"
