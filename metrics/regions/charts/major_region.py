"""Charts of how training images spread over regions."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Bars, Chart, Line, Panel
from bench.charts.words import class_titles
from bench.core.record import Record
from metrics.regions.major_region import MajorRegion

#: Classes in one panel, at most.
_SHOWN = 20


def draw(metric: MajorRegion, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """Images in major and in extra regions by class, and sizes of regions by rank."""
    sizes, major = arrays["class_size"][:_SHOWN], arrays["major_size"][:_SHOWN]
    names = class_titles(range(len(sizes)), record.dataset.classes)
    total = len(arrays["class_size"])
    first = f" The first {_SHOWN} of {total} classes." if total > _SHOWN else ""
    lines = []
    for number, name in enumerate(names):
        own = np.sort(arrays["region_size"][arrays["region_class"] == number])[::-1]
        if len(own):
            ranks = _ranks(len(own))
            lines.append(
                Line(
                    name=name,
                    x=ranks.astype(float).tolist(),
                    y=own[ranks - 1].astype(float).tolist(),
                )
            )
    panels = [
        Panel(
            title="by class",
            x=Axis(label="class"),
            y=Axis(label="training images", low=0),
            marks=[
                Bars(name=name, categories=names, values=counts.astype(float).tolist(), stacked=True)
                for name, counts in (("major region", major), ("extra regions", sizes - major))
            ],
        )
    ]
    if lines:
        panels.append(
            Panel(
                title="by region",
                x=Axis(label="region of the class, largest first", log=True),
                y=Axis(label="training images in the region", log=True),
                marks=lines,
            )
        )
    return [
        Chart(
            name="regions-major",
            title="Training images by region",
            source="P1, figures 8 (a) and 10",
            caption=f"{arrays['regions'].item()} regions hold {arrays['class_size'].sum()} training images. "
            "Bars add up to the images of a class. The left end of each line is the class's major region."
            f"{first}",
            panels=panels,
        )
    ]


def _ranks(count: int) -> np.ndarray:
    """1 … count, without ranks that are too close to each other on a logarithmic axis."""
    return np.unique(np.geomspace(1, count, 100).round().astype(np.int64))
