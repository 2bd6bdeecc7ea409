"""The decision regions that a plane through three test images cuts (P1, figure 1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.charts import Axis, Chart, Heatmap, Panel, Points
from bench.charts.words import class_titles
from bench.core.errors import UserError
from bench.core.plane import Plane, plane_through, read_plane
from bench.core.record import Record, Score, Value
from bench.core.summaries import mean_score
from metrics.base import NO_HEAD, Arrays, Evaluation, Metric, NotMeasurable

#: Triples to try before giving up on finding three images that span a plane.
_TRIES = 20


@dataclass(frozen=True, kw_only=True)
class RegionPlane(Metric):
    """Mean count of decision regions in a window of the plane through three test images.

    The images are of three classes where there are as many (the paper takes three training images of one class);
    the window is a square around them with a quarter of their extent on every side, and the region and class of
    each cell are those at its centre. The count depends on `resolution`, and neither more nor fewer is better.

    Args:
        planes: how many.
        resolution: cells on each side of the window.

    Raises:
        UserError: for fewer than 1 plane, or fewer than 2 cells.

    Source: P1, figure 1, definition 2.
    """

    name = "region_plane"
    unit: ClassVar[str] = "regions"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (1.0, float("inf"))

    planes: int = 3
    resolution: int = 64

    def __post_init__(self) -> None:
        if self.planes < 1 or self.resolution < 2:
            raise UserError(
                f"expected planes from 1 and a resolution from 2, got {self.planes} and {self.resolution}"
            )

    def settings(self) -> dict[str, Value]:
        """Planes and cells."""
        return {"planes": self.planes, "resolution": self.resolution, "margin": 0.25}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Per plane: region and class of each cell [p, r, r], places of cells and images, the images' regions.

        Raises:
            NotMeasurable: without a feature layer, or without three test images that span a plane.
        """
        if evaluation.classifier.site == "none":
            raise NotMeasurable(NO_HEAD)
        generator = evaluation.generator(self.name)
        columns: dict[str, list[np.ndarray]] = {}
        with evaluation.progress.task("region planes", self.planes) as task:
            for _ in range(self.planes):
                index, plane = _draw(evaluation, generator)
                a, b = plane.window(self.resolution)
                found = read_plane(evaluation.classifier, plane, a, b, batch_size=evaluation.batch_size)
                evaluation.forwards += self.resolution**2 + 3
                here = {
                    "region": found.region,
                    "predicted": found.predicted,
                    "a": a,
                    "b": b,
                    "corner": plane.corners.numpy(),
                    "corner_region": found.at_corners,
                    "label": evaluation.labels[index].cpu().numpy(),
                    "test_index": evaluation.test_index.cpu().numpy()[index.cpu().numpy()],
                    "count": np.array(found.count),
                }
                for name, values in here.items():
                    columns.setdefault(name, []).append(values)
                task.advance()
        return {name: np.stack(values) for name, values in columns.items()}

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The mean count over planes."""
        cells = arrays["region"].shape[1:]
        reason = f"in {cells[0]} x {cells[1]} cells of each of {len(arrays['count'])} planes"
        return {self.name: mean_score(arrays["count"], unit=self.unit, reason=reason, bounds=self.bounds)}

    def charts(self, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
        """For every plane: its regions, those of the three images, and the predicted classes."""
        return [_chart(arrays, record, place) for place in range(len(arrays["count"]))]


def _draw(evaluation: Evaluation, generator: torch.Generator) -> tuple[Tensor, Plane]:
    """Three test images, of three classes where there are three, and their plane."""
    labels = evaluation.labels
    for _ in range(_TRIES if len(labels) >= 3 else 0):
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        # The first of each class in this order, then the others.
        shuffled = labels[order].cpu().numpy()
        first = np.unique(shuffled, return_index=True)[1]
        places = np.concatenate([np.sort(first), np.setdiff1d(np.arange(len(shuffled)), first)])[:3]
        index = order[torch.from_numpy(places).to(labels.device)]
        try:
            return index, plane_through(evaluation.images[index])
        except UserError:
            continue
    raise NotMeasurable(f"expected three test images that span a plane, found none among {len(labels)}")


def _chart(arrays: Mapping[str, np.ndarray], record: Record, place: int) -> Chart:
    names = record.dataset.classes
    region, corner_region = arrays["region"][place], arrays["corner_region"][place]
    labels = class_titles(arrays["label"][place].tolist(), names)
    own = np.zeros_like(region)
    for number in (3, 2, 1):
        own[region == corner_region[number - 1]] = number
    a, b = arrays["a"][place].tolist(), arrays["b"][place].tolist()
    images = Points(
        name="test images",
        x=arrays["corner"][place, :, 0].tolist(),
        y=arrays["corner"][place, :, 1].tolist(),
        labels=labels,
    )
    panels = [
        Panel(
            title=title,
            x=Axis(label="along the plane (ℓ2, pixels in [0, 1])"),
            y=Axis(label="across it (ℓ2, pixels in [0, 1])"),
            square=True,
            marks=[
                Heatmap(x=a, y=b, z=z.tolist(), unit=unit, scale="categorical", names=list(meaning)),
                images,
            ],
        )
        for title, z, unit, meaning in (
            ("decision regions", region, "region", ()),
            (
                "regions of the three images",
                own,
                "region",
                ("another region", *(f"of the {name} image" for name in _distinct(labels))),
            ),
            ("predicted classes", arrays["predicted"][place], "class", names),
        )
    ]
    count = int(arrays["count"][place])
    shares = ", ".join(f"{(region == at).mean():.1%}" for at in corner_region)
    return Chart(
        name=f"regions-plane-{place + 1}",
        title=f"Decision regions in the plane through three test images: {count}",
        source="P1, figure 1",
        caption=f"{count} regions (sign patterns of the penultimate layer) at the centres of {len(b)} x {len(a)} "
        f"cells; colours repeat. The regions of the three images fill {shares} of the window. Test images "
        f"{', '.join(map(str, arrays['test_index'][place].tolist()))}; cells may lie outside the pixel box.",
        panels=panels,
    )


def _distinct(labels: list[str]) -> list[str]:
    """Labels, numbered where one comes again."""
    return [
        f"{label} ({labels[: at + 1].count(label)})" if labels.count(label) > 1 else label
        for at, label in enumerate(labels)
    ]
