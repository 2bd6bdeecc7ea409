"""Decision regions in planes through three images (P1, figure 1)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from bench.core.classifier import NO_HEAD
from bench.core.errors import UserError
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.plane import Plane, plane_through, read_plane
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: Triples of images to try until one spans a plane.
_TRIES = 20
#: Prefix of the arrays of planes through training images.
TRAINING = "training/"


@dataclass(frozen=True, kw_only=True)
class RegionPlane(Metric):
    """Mean number of decision regions in a window of the plane through three images.

    `region_plane` is for test images, of three classes where there are as many; `region_plane/training` for three
    training images of one class, drawn at random, as in the paper's figure. The window is a square around the
    images that extends by a quarter of their extent on every side. The region and class of a cell are those at its
    center. The number depends on `resolution`, and neither more nor fewer regions are better.

    Args:
        planes: number of planes of each kind.
        resolution: cells along each side of the window.

    Raises:
        UserError: for fewer than 1 plane, or fewer than 2 cells.

    Source: P1, figure 1, definition 2.
    """

    needs_head = True
    name = "region_plane"
    unit: ClassVar[str] = "regions"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (1.0, float("inf"))
    batteries = {"full": {"planes": 10, "resolution": 128}, "geometry": {}, "indicators": {}}
    charts_function = "metrics.regions.charts.region_plane:draw"

    planes: int = 3
    resolution: int = 64

    def __post_init__(self) -> None:
        if self.planes < 1 or self.resolution < 2:
            raise UserError(
                f"expected planes from 1 and a resolution from 2, got {self.planes} and {self.resolution}"
            )

    def settings(self) -> dict[str, Value]:
        """Planes, cells and margin."""
        return {"planes": self.planes, "resolution": self.resolution, "margin": 0.25}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """By plane, region and class of each cell [p, r, r], coordinates of cells and images, images' regions.

        The same for planes through training images, where there are any, as `training/…`.

        Raises:
            NotMeasurable: without a feature layer, or without three test images that span a plane.
        """
        if evaluation.classifier.site == "none":
            raise NotMeasurable(NO_HEAD)
        arrays = self._planes(evaluation, _draw_test, evaluation.generator(self.name), "test")
        arrays["test_index"] = arrays.pop("index")
        arrays[f"{TRAINING}images"] = np.array([len(evaluation.dataset.train)])
        generator = evaluation.generator(f"{self.name}/training")
        try:
            found = self._planes(evaluation, _draw_training, generator, "training")
        except NotMeasurable:
            return arrays
        return arrays | {f"{TRAINING}{name}": values for name, values in found.items()}

    def _planes(
        self,
        evaluation: Evaluation,
        draw: Callable[[Evaluation, torch.Generator], "_Corners"],
        generator: torch.Generator,
        kind: str,
    ) -> Arrays:
        columns: dict[str, list[np.ndarray]] = {}
        with evaluation.progress.task(f"region planes, {kind} images", self.planes) as task:
            for _ in range(self.planes):
                corners = draw(evaluation, generator)
                a, b = corners.plane.window(self.resolution)
                found = read_plane(
                    evaluation.classifier, corners.plane, a, b, batch_size=evaluation.batch_size
                )
                here = {
                    "region": found.region,
                    "predicted": found.predicted,
                    "a": a,
                    "b": b,
                    "corner": corners.plane.corners.numpy(),
                    "corner_region": found.at_corners,
                    "label": corners.labels,
                    "index": corners.index,
                    "count": np.array(found.count),
                }
                for name, values in here.items():
                    columns.setdefault(name, []).append(values)
                task.advance()
        return {name: np.stack(values) for name, values in columns.items()}

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/training"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The mean number of regions over the planes of each kind."""
        cells = arrays["region"].shape[1:]
        reason = f"in {cells[0]} x {cells[1]} cells of each of {len(arrays['count'])} planes"
        counts, where = arrays.get(f"{TRAINING}count", np.empty(0)), "three training images of one class"
        images = int(arrays.get(f"{TRAINING}images", np.zeros(1)).sum())
        missing = f"no {where} span a plane, among {images}" if images else "there are no training images"
        training = f"{reason} through {where}" if len(counts) else missing
        return {
            self.name: mean_score(arrays["count"], unit=self.unit, reason=reason, bounds=self.bounds),
            f"{self.name}/training": mean_score(counts, unit=self.unit, reason=training, bounds=self.bounds),
        }


@dataclass(frozen=True)
class _Corners:
    """Three images: their positions in their split [3], labels [3], and the plane through them."""

    index: np.ndarray
    labels: np.ndarray
    plane: Plane


def _draw_test(evaluation: Evaluation, generator: torch.Generator) -> _Corners:
    """Three test images, of three classes where there are three."""
    labels = evaluation.labels
    for _ in range(_TRIES if len(labels) >= 3 else 0):
        order = torch.randperm(len(labels), generator=generator).to(labels.device)
        # The first of each class in this order, then the others.
        shuffled = labels[order].cpu().numpy()
        first = np.unique(shuffled, return_index=True)[1]
        places = np.concatenate([np.sort(first), np.setdiff1d(np.arange(len(shuffled)), first)])[:3]
        index = order[torch.from_numpy(places).to(labels.device)]
        try:
            plane = plane_through(evaluation.images[index])
        except UserError:
            continue
        positions = evaluation.test_index.cpu().numpy()[index.cpu().numpy()]
        return _Corners(positions, labels[index].cpu().numpy(), plane)
    raise NotMeasurable(f"expected three test images that span a plane, found none among {len(labels)}")


def _draw_training(evaluation: Evaluation, generator: torch.Generator) -> _Corners:
    """Three training images of one class, drawn at random among the classes that have three."""
    train = evaluation.dataset.train
    labels = train.labels.cpu()
    classes = torch.nonzero(labels.bincount() >= 3).flatten()
    for _ in range(_TRIES if len(classes) else 0):
        own = classes[torch.randint(len(classes), (1,), generator=generator)]
        members = torch.nonzero(labels == own).flatten()
        index = members[torch.randperm(len(members), generator=generator)[:3]]
        images, _ = train.batch(index.to(train.labels.device))
        try:
            return _Corners(index.numpy(), labels[index].numpy(), plane_through(images))
        except UserError:
            continue
    raise NotMeasurable(
        f"expected three training images of one class that span a plane, found none among {len(labels)}"
    )
