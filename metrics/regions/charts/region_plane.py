"""Charts of the regions in planes through three images."""

from collections.abc import Mapping, Sequence

import numpy as np

from bench.charts import Axis, Chart, Heatmap, Panel, Points
from bench.charts.words import class_titles
from bench.core.record import Record
from metrics.regions.region_plane import TRAINING, RegionPlane


def draw(metric: RegionPlane, arrays: Mapping[str, np.ndarray], record: Record) -> list[Chart]:
    """For each plane, its regions, those of the three images, and the predicted classes."""
    training = {
        name.removeprefix(TRAINING): values for name, values in arrays.items() if name.startswith(TRAINING)
    }
    return [
        *(_chart(arrays, record, place, "test") for place in range(len(arrays["count"]))),
        *(_chart(training, record, place, "training") for place in range(len(training.get("count", ())))),
    ]


def _chart(arrays: Mapping[str, np.ndarray], record: Record, place: int, kind: str) -> Chart:
    names = record.dataset.classes
    region, corner_region = arrays["region"][place], arrays["corner_region"][place]
    labels, which = _images(arrays, place, kind, names)
    own, owners = _own_regions(region, corner_region, labels)
    points = Points(
        name=f"{kind} images",
        x=arrays["corner"][place, :, 0].tolist(),
        y=arrays["corner"][place, :, 1].tolist(),
        labels=labels,
    )
    a, b = arrays["a"][place].tolist(), arrays["b"][place].tolist()

    def panel(title: str, z: np.ndarray, unit: str, meaning: Sequence[str], neutral: int | None) -> Panel:
        heatmap = Heatmap(
            x=a,
            y=b,
            z=z.tolist(),
            unit=unit,
            scale="categorical",
            names=list(meaning),
            neutral=neutral,
        )
        return Panel(
            title=title,
            x=Axis(label="along the plane (ℓ2, pixels in [0, 1])"),
            y=Axis(label="across it (ℓ2, pixels in [0, 1])"),
            square=True,
            marks=[heatmap, points],
        )

    count = int(arrays["count"][place])
    shares = ", ".join(f"{(region == at).mean():.1%}" for at in corner_region)
    images_of = "test images" if kind == "test" else "training images of one class"
    return Chart(
        name=f"regions-plane-{place + 1}" if kind == "test" else f"regions-plane-training-{place + 1}",
        title=f"Decision regions in the plane through three {images_of}: {count}",
        source="P1, figure 1",
        caption=f"{count} regions (sign patterns of the penultimate layer) at the centers of {len(b)} x {len(a)} "
        f"cells; colors repeat. The regions of the three images fill {shares} of the window. {which}; cells may "
        "lie outside the pixel box.",
        panels=[
            panel("decision regions", region, "region", (), None),
            panel("regions of the three images", own, "region", ("another region", *owners), 0),
            panel("predicted classes", arrays["predicted"][place], "class", names, None),
        ],
    )


def _own_regions(
    region: np.ndarray, corner_region: np.ndarray, labels: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Number the cells in the regions of the three images 1 to 3, all others 0; and name these regions.

    Images can share a region: it has the number of the first of them, and the names of all.
    """
    own = np.zeros_like(region)
    for number in (3, 2, 1):
        own[region == corner_region[number - 1]] = number
    sharing = [
        " and ".join(label for label, other in zip(labels, corner_region, strict=True) if other == at)
        for at in corner_region
    ]
    return own, [f"of {images}" for images in sharing]


def _images(
    arrays: Mapping[str, np.ndarray], place: int, kind: str, names: Sequence[str]
) -> tuple[list[str], str]:
    """Names of the three images of a plane, beside their points and in the caption."""
    index = arrays["test_index" if kind == "test" else "index"][place].tolist()
    classes = class_titles(arrays["label"][place].tolist(), names)
    if kind == "training":
        which = f"Training images {', '.join(map(str, index))}, all of class {classes[0]}"
        return [f"image {at}" for at in index], which
    which = ", ".join(f"{at} ({name})" for at, name in zip(index, classes, strict=True))
    return [f"image {at} ({name})" for at, name in zip(index, classes, strict=True)], f"Test images {which}"
