"""Several groups of values over the same bins."""

from collections.abc import Mapping

import numpy as np

from bench.charts.chart import Histogram


def histograms(groups: Mapping[str, np.ndarray], bins: int = 30) -> list[Histogram]:
    """The share of each group that falls into each bin; groups without a finite value are left out.

    Args:
        groups: name to float [n]; the n may differ.
        bins: equally wide, from the smallest to the largest value of all groups.
    """
    finite = {name: values[np.isfinite(values)] for name, values in groups.items()}
    finite = {name: values.astype(np.float64) for name, values in finite.items() if len(values)}
    if not finite:
        return []
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), bins)
    return [
        Histogram(
            name=name,
            edges=edges.tolist(),
            values=(np.histogram(values, edges)[0] / len(values)).tolist(),
            sample=values.tolist(),
        )
        for name, values in finite.items()
    ]


#: The widest picture that a tile shows, in pixels.
SIDE = 64


def thumbnails(pictures: np.ndarray) -> np.ndarray:
    """Every k-th row and column of pictures [..., h, w], for the smallest k that leaves at most 64 of each."""
    step = max(1, -(-max(pictures.shape[-2:]) // SIDE))
    return pictures[..., ::step, ::step]
