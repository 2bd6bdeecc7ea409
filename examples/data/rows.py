"""Rows that are mappings, as data sets of Hugging Face have them. From this folder: `--data rows:load`.

With the package `datasets` installed, the function is `return datasets.load_dataset("mnist")` alone.
"""

from typing import Any

import numpy as np


def load() -> dict[str, list[dict[str, Any]]]:
    """Bright and dark noise; columns instead of rows, such as {"image": …, "label": …}, will do as well."""
    random = np.random.default_rng(0)

    def row(number: int) -> dict[str, Any]:
        label = number % 2
        return {"image": random.integers(100 * label, 156 + 100 * label, (8, 8), np.uint8), "label": label}

    return {"train": [row(number) for number in range(300)], "test": [row(number) for number in range(100)]}
