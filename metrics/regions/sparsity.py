"""Share of activations that are exactly zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.record import Score, Value
from bench.geometry.groups import batches, draw
from bench.geometry.layers import Layer, find_layers, observe
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable


@dataclass(frozen=True, kw_only=True)
class Sparsity(Metric):
    """Share of exact zeros in the output of each activation layer, mean over the layers (P2 §6, figure 12).

    Over the training set or `train_images` of it, without interval. A module that is called twice counts as two
    layers, and so do activations that are called as functions. `sparsity/LAYER` is the share of a layer.

    Args:
        train_images: number of training images, drawn at random; all by default.

    Raises:
        UserError: for fewer than 1 image.
    """

    name = "sparsity"
    higher_is_better: ClassVar[bool | None] = None
    batteries = {
        "full": {"train_images": None},
        "geometry": {"train_images": 10_000},
        "indicators": {"train_images": 1000},
    }
    charts_function = "metrics.regions.charts.sparsity:draw"

    train_images: int | None = None

    def __post_init__(self) -> None:
        if self.train_images is not None and self.train_images < 1:
            raise UserError(f"expected at least 1 training image, got train_images={self.train_images}")

    def settings(self) -> dict[str, Value]:
        """Number of images."""
        return {"train_images": self.train_images}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """Name, zeros and values of each activation layer [L], in the order they run; the number of images.

        Raises:
            NotMeasurable: when no activation layer is found, or there is no training image.
        """
        train = evaluation.dataset.train
        everything = np.ones(len(train), dtype=bool)
        index = draw(everything, self.train_images, evaluation.generator(self.name))
        if len(index) == 0:
            raise NotMeasurable("the training set is empty")
        found = find_layers(evaluation.classifier, train.batch(slice(0, 1))[0])
        layers = [layer for layer in found if layer.kind == "activation"]
        if not layers:
            raise NotMeasurable("no activation layer was seen: expected modules such as nn.ReLU, or F.relu")

        zeros = {layer.name: torch.zeros((), dtype=torch.int64, device=evaluation.device) for layer in layers}

        def see(layer: Layer, output: Tensor) -> None:
            zeros[layer.name] += (output == 0).sum()

        images = batches(train, index, evaluation.batch_size, evaluation.progress, "sparsity")
        observe(evaluation.classifier, layers, images, see)
        return {
            "layer": np.array([layer.name for layer in layers]),
            "zeros": np.array([int(zeros[layer.name]) for layer in layers]),
            "values": np.array([layer.width * len(index) for layer in layers]),
            "images": np.array([len(index)]),
        }

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The share of each layer, and their mean."""
        n = int(arrays["images"].item())
        shares = arrays["zeros"] / arrays["values"]
        return {
            self.name: self.score(float(shares.mean()), n=n, reason=f"mean over {len(shares)} layers"),
            **{
                f"{self.name}/{layer}": self.score(float(share), n=n)
                for layer, share in zip(arrays["layer"], shares, strict=True)
            },
        }
