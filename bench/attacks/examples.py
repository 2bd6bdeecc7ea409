"""A few adversarial images of an attack, kept so that a result can be checked without attacking again."""

import numpy as np
import torch
from torch import Tensor

#: How many images an attack keeps at most.
KEPT = 10


def first_broken(
    broken: Tensor, adversarial: Tensor, images: Tensor, kept: int = KEPT
) -> dict[str, np.ndarray]:
    """The first images that an attack broke, with their places among those it was given.

    Where the network was wrong to begin with, the adversarial image is the image itself and does not count.

    Args:
        broken: bool [n].
        adversarial, images: float32 [n, C, H, W].
        kept: e is at most this.

    Returns:
        `example_index` int64 [e], and `examples` float32 [e, C, H, W].
    """
    candidates = torch.nonzero(broken).flatten()
    moved = (adversarial[candidates] != images[candidates]).flatten(1).any(dim=1)
    index = candidates[moved][:kept]
    return {
        "example_index": index.cpu().numpy(),
        "examples": adversarial[index].detach().float().cpu().numpy(),
    }
