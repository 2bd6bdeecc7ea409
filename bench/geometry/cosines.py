"""How parallel the classes' weights in the final layer are."""

from math import isqrt

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


#: Their key in the history.
COSINES = "final_layer_cosines"
#: Classes up to which a probe keeps every cosine, and not their mean alone.
MOST_CLASSES = 20


def write_cosines(matrix: np.ndarray) -> str:
    """What is above the diagonal of a symmetric matrix [K, K], row by row, to three decimals, between spaces."""
    return " ".join(f"{value:.3f}" for value in matrix[np.triu_indices(len(matrix), 1)])


def read_cosines(text: object) -> np.ndarray | None:
    """The matrix [K, K] of such a text, with ones on its diagonal; None for anything else."""
    try:
        values = [float(word) for word in text.split()] if isinstance(text, str) else []
    except ValueError:
        return None
    classes = (1 + isqrt(1 + 8 * len(values))) // 2
    if not values or classes * (classes - 1) // 2 != len(values) or not np.isfinite(values).all():
        return None
    matrix = np.zeros((classes, classes))
    matrix[np.triu_indices(classes, 1)] = values
    return matrix + matrix.T + np.eye(classes)
