"""Charts of feature maps and of the feature space."""

from collections.abc import Mapping

import numpy as np

from bench.charts import Axis, Chart, Panel, Points, Tiles
from bench.charts.histograms import thumbnails
from bench.charts.words import class_titles
from bench.core.record import Record
from metrics.regions.features import Features


def draw(metric: Features, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """The feature maps, and the t-SNE map of features, colored by class."""
    charts = []
    if "map_layer" in arrays:
        charts.append(_maps_chart(arrays))
    if len(arrays["embedding"]):
        charts.append(_space_chart(arrays, record))
    return charts


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
            # The scale includes zero, so that a dead map is dark.
            low=min(0.0, float(maps.min())),
            high=float(maps.max()) if maps.max() > 0 else 1.0,
        )
        panels.append(Panel(title=f"{name}: {zeros:.0%} exact zeros{count}", marks=[tiles]))
    return Chart(
        name="regions-feature-maps",
        title="Feature maps",
        source="P2, figure 11",
        caption="The first test image and its feature maps in the first layers; the maps of a layer share a scale, "
        "and dead maps are zero everywhere. The paper finds sparser maps where the PRS ratio is low.",
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
        f"clusters have no meaning.{mean}",
        panels=[
            Panel(x=Axis(label="t-SNE 1 (no unit)"), y=Axis(label="t-SNE 2 (no unit)"), marks=list(points))
        ],
    )
