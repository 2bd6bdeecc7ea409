"""NumPy arrays, four of them, as many libraries hand them out. From this folder: `--data numpy_arrays:load`."""

import numpy as np
from sklearn.datasets import load_digits


def load() -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """scikit-learn's digits: gray images [N, H, W], whose levels from 0 to 16 become floats from 0 to 1."""
    digits = load_digits()
    images = np.rint(digits.images / 16 * 255) / 255
    return (images[:1400], digits.target[:1400]), (images[1400:], digits.target[1400:])
