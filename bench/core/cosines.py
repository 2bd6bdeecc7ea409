"""How parallel the classes' weights in the final layer are."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def cosine_matrix(weight: Tensor) -> NDArray[np.float64]:
    """Cosine similarity between every two rows [K, K] (P1 §3.2, figure 6), computed in float64.

    A row of zeros has no direction and counts as orthogonal to every row, itself included.

    Args:
        weight: of the final linear layer [K, D], without its bias.
    """
    rows = F.normalize(weight.detach().double(), dim=1, eps=torch.finfo(torch.float64).tiny)
    return (rows @ rows.T).clamp(-1, 1).cpu().numpy()


def mean_off_diagonal(matrix: NDArray[np.float64]) -> float:
    """The mean over all pairs of different rows of a symmetric matrix [K, K], K at least 2."""
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())
