"""Keep a few adversarial images of an attack, so that a result can be checked without another attack."""

import numpy as np
import torch
from torch import Tensor

#: The largest number of images kept for an attack.
KEPT = 10


def first_broken(
    broken: Tensor, adversarial: Tensor, images: Tensor, kept: int = KEPT
) -> dict[str, np.ndarray]:
    """The first images that an attack broke, with their positions among the attacked images.

    Images that are misclassified without attack are left out: their adversarial image is the image itself.

    Args:
        broken: bool [n].
        adversarial, images: float32 [n, C, H, W].
        kept: the largest e.

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
