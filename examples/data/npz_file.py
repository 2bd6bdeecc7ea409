"""An npz file, which needs no function: `python npz_file.py`, then `--data digits.npz`."""

import sys

import numpy as np
from sklearn.datasets import load_digits


def write(path: str) -> None:
    """The digits as uint8, with the names that Keras gives such arrays; images and labels alone will do as well."""
    digits = load_digits()
    images = np.rint(digits.images / 16 * 255).astype(np.uint8)
    np.savez_compressed(
        path,
        x_train=images[:1400],
        y_train=digits.target[:1400],
        x_test=images[1400:],
        y_test=digits.target[1400:],
    )


if __name__ == "__main__":
    write(*sys.argv[1:] or ["digits.npz"])
