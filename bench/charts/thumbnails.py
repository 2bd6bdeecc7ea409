"""Pictures thinned out to what a tile shows."""

import numpy as np

#: The widest picture that a tile shows, in pixels.
SIDE = 64


def thumbnails(pictures: np.ndarray) -> np.ndarray:
    """Every k-th row and column of pictures [..., h, w], for the smallest k that leaves at most 64 of each."""
    step = max(1, -(-max(pictures.shape[-2:]) // SIDE))
    return pictures[..., ::step, ::step]
