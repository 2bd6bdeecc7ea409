"""PRS ratio, layer by layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from torch import Tensor

from bench.core.classifier import AnyClassifier
from bench.core.errors import UserError
from bench.core.record import Score, Value
from bench.geometry.groups import batches, draw
from bench.geometry.layers import Layer, find_layers, observe, pick_layers, shorten
from bench.geometry.regions import count_regions, pack
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


@dataclass(frozen=True, kw_only=True)
class PRSByLayer(Metric):
    """PRS ratio of every convolution and fully connected layer before its non-linearity (P1 §2.2, figure 2).

    `prs_by_layer/LAYER` is |PRS_l| / N with the pattern `z > 0` over all units of the layer; each position of each
    channel is a unit, and a batch norm directly behind the layer belongs to it. `prs_by_layer` is their mean. One
    pass computes all layers, at up to 16 bytes an image and layer (160 MB for ten million images). Counts have no
    interval.

    Args:
        layers: names of the layers; all but the final layer by default.
        train_images: number of training images, drawn at random; all by default. Fewer images give a larger ratio,
            so compare only ratios with the same n.

    Raises:
        UserError: for fewer than 1 image.
    """

    name = "prs_by_layer"
    higher_is_better: ClassVar[bool | None] = None
    batteries = {"full": {"train_images": None}, "geometry": {"train_images": 10_000}}
    charts_function = "metrics.regions.charts.prs_by_layer:draw"

    layers: tuple[str, ...] = ()
    train_images: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.layers, str):
            raise UserError(
                f"expected several names of layers, such as layers=('{self.layers}',), got a single string"
            )
        if self.train_images is not None and self.train_images < 1:
            raise UserError(f"expected at least 1 training image, got train_images={self.train_images}")

    def settings(self) -> dict[str, Value]:
        """Layers and number of images."""
        return {"layers": ", ".join(self.layers) or "all", "train_images": self.train_images}

    def check(self, classifier: AnyClassifier, image: Tensor) -> None:
        """Refuse layers that the network does not have."""
        if self.layers:
            pick_layers(find_layers(classifier, image), self.layers)

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Name, units and regions of each layer [L], in the order they run; the number of images.

        Raises:
            NotMeasurable: when no such layer is found, or there is no training image.
            UserError: for an unknown layer.
        """
        train = evaluation.dataset.train
        everything = np.ones(len(train), dtype=bool)
        index = draw(everything, self.train_images, evaluation.generator(self.name))
        if len(index) == 0:
            raise NotMeasurable("the training set is empty, so it populates no region")
        found = find_layers(evaluation.classifier, train.batch(slice(0, 1))[0])
        linear = [layer for layer in found if layer.kind in ("linear", "penultimate")]
        layers = pick_layers(found, self.layers) if self.layers else linear
        if not layers:
            raise NotMeasurable("no convolution or fully connected layer was seen before the final one")

        rows: dict[str, list[np.ndarray]] = {layer.name: [] for layer in layers}

        def see(layer: Layer, output: Tensor) -> None:
            rows[layer.name].append(shorten(pack(output.flatten(1))))

        images = batches(train, index, evaluation.batch_size, evaluation.progress, "regions by layer")
        observe(evaluation.classifier, layers, images, see)
        return {
            "layer": np.array([layer.name for layer in layers]),
            "units": np.array([layer.width for layer in layers]),
            "regions": np.array([count_regions(np.concatenate(rows.pop(layer.name))) for layer in layers]),
            "images": np.array([len(index)]),
        }

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The ratio of each layer, and their mean."""
        n = int(arrays["images"].item())
        ratios = arrays["regions"] / n
        return {
            self.name: self.score(float(ratios.mean()), n=n, reason=f"mean over {len(ratios)} layers"),
            **{
                f"{self.name}/{layer}": self.score(float(ratio), n=n)
                for layer, ratio in zip(arrays["layer"], ratios, strict=True)
            },
        }
