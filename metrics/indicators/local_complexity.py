"""How many units change sign in a small neighborhood of an image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.layers import Layer, find_layers, observe
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


@dataclass(frozen=True, kw_only=True)
class LocalComplexity(Metric):
    """Mean number of units whose sign is not the same at all points x ± r·v_i around a test image.

    v_1 … v_P are orthonormal directions, drawn once for all images. A unit is an entry of the output of an
    activation, and its sign is whether it is above zero, which for ReLU, SiLU and GELU is the sign of its
    input, batch norm and shortcuts included. `/share` is the mean share of all units, which networks of
    different width can be compared by. The points may leave the pixel box, and x itself is not among them, as
    in the authors' code.

    Defaults: r = 0.005 and P = 20, those of the authors' code for CIFAR-10, whose images are standardized; ours
    are pixels in [0, 1].

    Args:
        images: number of test images, the first ones.
        directions: P, at most the number of pixels.
        radius: r, in pixel units.

    Raises:
        UserError: for fewer than 1 image or direction, or a radius that is not above 0.

    Source: Humayun, Balestriero & Baraniuk 2024, Deep Networks Always Grok and Here is Why, arXiv 2402.15555,
    section 3.
    """

    name = "local_complexity"
    titles = {"local_complexity": "Local complexity"}
    unit: ClassVar[str] = "count"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    batteries = {"indicators": {}}

    images: int = 200
    directions: int = 20
    radius: float = 0.005

    def __post_init__(self) -> None:
        if min(self.images, self.directions) < 1 or not self.radius > 0:
            raise UserError(
                "expected images and directions from 1 and a radius above 0, got "
                f"{self.images}, {self.directions} and {self.radius}"
            )

    def settings(self) -> dict[str, Value]:
        """Number of images and directions, and the radius."""
        return {"images": self.images, "directions": self.directions, "radius": self.radius}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Number of units that change sign around each image [n], and the number of units.

        Raises:
            NotMeasurable: when no activation layer is found, or there is no image.
        """
        images, _ = evaluation.first(self.images)
        found = find_layers(evaluation.classifier, images[:1])
        layers = [layer for layer in found if layer.kind == "activation"]
        if not layers:
            raise NotMeasurable("no activation layer was seen: expected modules such as nn.ReLU, or F.relu")
        generator = evaluation.generator(self.name)
        points = frame(images[0].numel(), self.directions, generator).to(images.device) * self.radius
        points = torch.cat([points, -points]).view(-1, *images.shape[1:])
        changed = np.empty(len(images), dtype=np.int64)
        now = torch.zeros((), dtype=torch.int64, device=images.device)

        def see(layer: Layer, output: Tensor) -> None:
            nonlocal now
            above = output.flatten(1) > 0
            at_once = above.view(-1, len(points), above.shape[1])
            now = now + (at_once.any(dim=1) & ~at_once.all(dim=1)).sum(dim=1)

        at_once = max(1, evaluation.batch_size // len(points))
        with evaluation.progress.task("local complexity", len(images)) as task:
            for start in range(0, len(images), at_once):
                some = images[start : start + at_once]
                now = torch.zeros(len(some), dtype=torch.int64, device=images.device)
                around = (some[:, None] + points[None]).flatten(0, 1)
                observe(evaluation.classifier, layers, [around], see)
                changed[start : start + len(some)] = now.cpu().numpy()
                task.advance(len(some))
        return {"changed": changed, "units": np.array([sum(layer.width for layer in layers)])}

    def names(self) -> tuple[str, ...]:
        """Names of the scores, the main one first."""
        return self.name, f"{self.name}/share"

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The mean number and share of units, with intervals over images."""
        units = int(arrays["units"].item())
        return {
            self.name: mean_score(
                arrays["changed"], unit=self.unit, reason=f"of {units:,} units", bounds=self.bounds
            ),
            f"{self.name}/share": mean_score(arrays["changed"] / units, unit="fraction", bounds=(0, 1)),
        }


def frame(dimension: int, count: int, generator: torch.Generator) -> Tensor:
    """Orthonormal directions drawn at random: float32 [min(count, dimension), dimension]."""
    drawn = torch.randn(dimension, min(count, dimension), generator=generator, dtype=torch.float64)
    return torch.linalg.qr(drawn).Q.T.float().contiguous()
