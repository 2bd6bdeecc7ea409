"""The final layer's cosines as text: a row of a history holds numbers and words, but no matrix."""

from math import isqrt

import numpy as np

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
