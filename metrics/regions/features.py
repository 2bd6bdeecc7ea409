"""Feature maps of the first layers, and how densely each class lies in the feature space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_samples
from torch import Tensor

from bench.core.errors import UserError
from bench.core.record import Score, Value
from bench.core.statistics import mean_score
from bench.geometry.groups import batches, draw
from bench.geometry.layers import Layer, find_layers, observe
from metrics.base import Metric
from metrics.evaluation import Arrays, Evaluation, NotMeasurable

#: The fewest images that t-SNE is run on.
_FEWEST = 10


@dataclass(frozen=True, kw_only=True)
class Features(Metric):
    """Feature maps of the first layers and a t-SNE map of penultimate features (P2 §6, figures 11 and 13).

    The score is the mean silhouette of the training images' features by class, from −1 to 1: how densely each class
    lies, which is what figure 13 shows.

    Args:
        images: training images in the map, drawn at random.
        layers: number of convolutional activation layers to show, the first ones.
        channels: number of channels of each, the first ones.

    Raises:
        UserError: when one of them is below 1.
    """

    name = "features/silhouette"
    unit: ClassVar[str] = "silhouette"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"full": {}, "geometry": {}}
    charts_function = "metrics.regions.charts.features:draw"

    images: int = 500
    layers: int = 3
    channels: int = 6

    def __post_init__(self) -> None:
        if min(self.images, self.layers, self.channels) < 1:
            raise UserError(
                f"expected at least 1 image, layer and channel, got {self.images}, {self.layers}, {self.channels}"
            )

    def settings(self) -> dict[str, Value]:
        """Numbers of images, layers and channels."""
        return {"images": self.images, "layers": self.layers, "channels": self.channels}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """The map [n, 2], with labels and silhouettes [n]; feature maps [channels, h, w] of the first test image.

        Parts that this network or data set does not have are empty.

        Raises:
            NotMeasurable: when there is neither a feature layer nor a convolutional one.
        """
        maps = self._maps(evaluation)
        space = self._space(evaluation) if evaluation.classifier.site != "none" else {}
        if not maps and not space:
            raise NotMeasurable(
                "the network has neither a feature layer nor maps to show, or there is no image"
            )
        return {
            "embedding": np.empty((0, 2)),
            "label": np.empty(0, dtype=np.int64),
            "silhouette": np.empty(0),
            **space,
            **maps,
        }

    def _space(self, evaluation: Evaluation) -> Arrays:
        train = evaluation.dataset.train
        everything = np.ones(len(train), dtype=bool)
        index = draw(everything, self.images, evaluation.generator("features"))
        if len(index) < _FEWEST:
            return {}
        stream = batches(train, index, evaluation.batch_size, evaluation.progress, "feature space")
        with torch.no_grad():
            parts = [evaluation.classifier.features(images).double().cpu() for images in stream]
        features = torch.cat(parts).numpy()
        labels = train.labels.cpu().numpy()[index]
        seed = evaluation.generator("t-SNE").initial_seed() % 2**32
        classes = len(np.unique(labels))
        silhouette = silhouette_samples(features, labels) if 2 <= classes < len(labels) else np.empty(0)
        return {"embedding": embed(features, seed), "label": labels, "silhouette": silhouette}

    def _maps(self, evaluation: Evaluation) -> Arrays:
        """The first test image and its feature maps, layer by layer."""
        image = evaluation.images[:1]
        if len(image) == 0:
            return {}
        found = find_layers(evaluation.classifier, image)
        spatial = [layer for layer in found if len(layer.shape) == 3 and min(layer.shape[1:]) > 1]
        activations = [layer for layer in spatial if layer.kind == "activation"]
        layers = (activations or [layer for layer in spatial if layer.kind == "linear"])[: self.layers]
        if not layers:
            return {}
        maps: dict[str, np.ndarray] = {}

        def see(layer: Layer, output: Tensor) -> None:
            maps[layer.name] = output[0, : self.channels].float().cpu().numpy().copy()

        observe(evaluation.classifier, layers, [image], see)
        return {
            "image": image[0].cpu().numpy(),
            "map_layer": np.array([layer.name for layer in layers]),
            **{f"map_{number}": maps[layer.name] for number, layer in enumerate(layers)},
        }

    def reduce(self, arrays: Mapping[str, np.ndarray]) -> dict[str, Score]:
        """The mean silhouette."""
        values = arrays["silhouette"]
        missing = f"needs a feature layer and {_FEWEST} training images of at least two classes"
        reason = "" if len(values) else missing
        return {self.name: mean_score(values, unit=self.unit, reason=reason, bounds=self.bounds)}


def embed(features: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE of features [n, D] in the plane [n, 2], from the first two principal components.

    Features of rank 1 start from random points; features that are all equal lie at the origin.

    Source: van der Maaten & Hinton 2008; perplexity 30, or a third of the images where that is less.
    """
    n = len(features)
    centered = features - features.mean(axis=0)
    directions = np.linalg.matrix_rank(centered)
    if directions == 0:
        return np.zeros((n, 2))
    start = "pca" if directions >= 2 else "random"
    tsne = TSNE(2, init=start, perplexity=min(30, (n - 1) / 3), random_state=seed)
    return tsne.fit_transform(features).astype(np.float64)
