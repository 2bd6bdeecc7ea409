"""What the layers make of an image, and how the classes lie in the feature space."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_samples
from torch import Tensor

from bench.charts import Axis, Chart, Panel, Points, Tiles
from bench.charts.histograms import thumbnails
from bench.charts.words import class_titles
from bench.core.errors import UserError
from bench.core.record import Record, Score, Value
from bench.core.statistics import mean_score
from bench.geometry.groups import batches, draw
from bench.geometry.layers import Layer, find_layers, observe
from metrics.base import Arrays, Evaluation, Metric, NotMeasurable

#: Fewer images make no map of a space.
_FEWEST = 10


@dataclass(frozen=True, kw_only=True)
class Features(Metric):
    """Feature maps of the first layers and a t-SNE map of penultimate features (P2 §6, figures 11 and 13).

    The one score is the mean silhouette of the training images' features by class, from −1 to 1: how densely each
    class lies, as figure 13 is meant to show.

    Args:
        images: training images in the map, drawn by chance.
        layers: how many convolutional activations to show, the first ones.
        channels: how many channels of each, the first ones.

    Raises:
        UserError: when one of them is below 1.
    """

    name = "features/silhouette"
    unit: ClassVar[str] = "silhouette"
    higher_is_better: ClassVar[bool | None] = None
    bounds: ClassVar[tuple[float, float]] = (-1.0, 1.0)
    batteries = {"full": {}, "geometry": {}}

    images: int = 500
    layers: int = 3
    channels: int = 6

    def __post_init__(self) -> None:
        if min(self.images, self.layers, self.channels) < 1:
            raise UserError(
                f"expected at least 1 image, layer and channel, got {self.images}, {self.layers}, {self.channels}"
            )

    def settings(self) -> dict[str, Value]:
        """Images, layers and channels."""
        return {"images": self.images, "layers": self.layers, "channels": self.channels}

    def measure(self, evaluation: Evaluation) -> Arrays:
        """The map [n, 2], with labels and silhouettes [n]; feature maps [channels, h, w] of the first test image.

        Parts that the network or the data cannot give are empty.

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
        """The first test image, and its first feature maps layer by layer."""
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

    def charts(self, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
        """The feature maps, and the t-SNE map colored by class."""
        charts = []
        if "map_layer" in arrays:
            charts.append(_maps_chart(arrays))
        if len(arrays["embedding"]):
            charts.append(_space_chart(arrays, record))
        return charts


def embed(features: np.ndarray, seed: int) -> np.ndarray:
    """t-SNE of features [n, D] in the plane [n, 2], from the first two principal components.

    Features that fill no plane start from random points; equal ones all lie at the origin.

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


def _maps_chart(arrays: Mapping[str, np.ndarray]) -> Chart:
    image = thumbnails(arrays["image"])
    if len(image) == 3:
        picture = Tiles(captions=["input"], values=[image.transpose(1, 2, 0).clip(0, 1).tolist()])
    else:
        picture = Tiles(captions=["input"], values=[image[0].tolist()])
    panels = [Panel(title="input", marks=[picture])]
    for number, name in enumerate(arrays["map_layer"]):
        maps = arrays[f"map_{number}"]
        zeros, dead = float((maps == 0).mean()), sum(not channel.any() for channel in maps)
        count = f", {dead} of {len(maps)} maps dead" if dead else ""
        tiles = Tiles(
            captions=[
                f"channel {k}" if channel.any() else f"channel {k}: dead" for k, channel in enumerate(maps)
            ],
            values=[channel.astype(float).tolist() for channel in thumbnails(maps)],
            # From zero on, so that a dead map is as dark as it is empty.
            low=min(0.0, float(maps.min())),
            high=float(maps.max()) if maps.max() > 0 else 1.0,
        )
        panels.append(Panel(title=f"{name}: {zeros:.0%} exact zeros{count}", marks=[tiles]))
    return Chart(
        name="regions-feature-maps",
        title="Feature maps",
        source="P2, figure 11",
        caption="The first test image and what the first layers make of it; the maps of a layer share a scale, "
        "and dead ones are zero everywhere. The paper finds sparser maps where the PRS ratio is low.",
        panels=panels,
    )


def _space_chart(arrays: Mapping[str, np.ndarray], record: Record) -> Chart:
    points = []
    labels = np.unique(arrays["label"]).tolist()
    for label, name in zip(labels, class_titles(labels, record.dataset.classes), strict=True):
        own = arrays["embedding"][arrays["label"] == label]
        points.append(
            Points(
                name=name,
                x=own[:, 0].tolist(),
                y=own[:, 1].tolist(),
            )
        )
    silhouette = arrays["silhouette"]
    mean = (
        f" Mean silhouette in the feature space itself: {silhouette.mean():.3f}." if len(silhouette) else ""
    )
    return Chart(
        name="regions-feature-space",
        title="Penultimate features by class",
        source="P2, figure 13",
        caption=f"t-SNE of {len(arrays['label'])} training images: neighbors stay neighbors, distances between "
        f"clusters mean nothing.{mean}",
        panels=[
            Panel(x=Axis(label="t-SNE 1 (no unit)"), y=Axis(label="t-SNE 2 (no unit)"), marks=list(points))
        ],
    )
