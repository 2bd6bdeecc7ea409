"""Cosine similarities between the class weights of the final layer."""

from math import isqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def cosine_matrix(weight: Tensor) -> NDArray[np.float64]:
    """The cosine similarity of every two rows [K, K], computed in float64 (P1 §3.2, figure 6).

    A row of zeros has no direction and counts as orthogonal to every row, itself included.

    Args:
        weight: weights of the final linear layer [K, D], without its bias.
    """
    rows = F.normalize(weight.detach().double(), dim=1, eps=torch.finfo(torch.float64).tiny)
    return (rows @ rows.T).clamp(-1, 1).cpu().numpy()


def mean_off_diagonal(matrix: NDArray[np.float64]) -> float:
    """The mean over all pairs of different rows of a symmetric matrix [K, K], K at least 2."""
    return float(matrix[~np.eye(len(matrix), dtype=bool)].mean())


#: The key of the cosines in a training history.
COSINES = "final_layer_cosines"
#: The largest number of classes for which a probe keeps every cosine; for more it keeps only the mean.
MOST_CLASSES = 20


def upper_triangle(matrix: NDArray[np.float64]) -> list[float]:
    """The entries above the diagonal of a symmetric matrix [K, K], row by row, to three decimals."""
    return [round(float(value), 3) for value in matrix[np.triu_indices(len(matrix), 1)]]


def from_upper_triangle(entries: object) -> NDArray[np.float64] | None:
    """The symmetric matrix [K, K] with these entries above its diagonal, and ones on it.

    Args:
        entries: the output of `upper_triangle`, or the same numbers as text separated by spaces, as in older
            records.

    Returns:
        None where the entries are not a list of numbers, or their count is not K(K − 1)/2 for any K.
    """
    try:
        values = [float(value) for value in _listed(entries)]
    except (TypeError, ValueError):
        return None
    classes = (1 + isqrt(1 + 8 * len(values))) // 2
    if not values or classes * (classes - 1) // 2 != len(values) or not np.isfinite(values).all():
        return None
    matrix = np.zeros((classes, classes))
    matrix[np.triu_indices(classes, 1)] = values
    return matrix + matrix.T + np.eye(classes)


def _listed(entries: object) -> list[Any]:
    if isinstance(entries, str):
        return entries.split()
    return entries if isinstance(entries, list) else []
