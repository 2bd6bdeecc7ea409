"""The 1,797 handwritten 8x8 digits that come with scikit-learn (Alpaydin and Kaynak, 1998)."""

from pathlib import Path

import numpy as np
import torch

from bench.data.raw import RawData
from bench.data.splits import stratified_order


def digits(data_dir: Path, download: bool) -> RawData:
    """1,797 handwritten 8x8 digits of scikit-learn; needs no files.

    Gray values 0 … 16 become round(v·255/16). No test set is published, so a fixed stratified fifth serves as one.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = torch.from_numpy(np.rint(bunch.images * 255 / 16).astype(np.uint8)).unsqueeze(1)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    order = stratified_order(labels, "digits")
    test_size = round(len(labels) / 5)
    test, train = order[:test_size].sort().values, order[test_size:].sort().values
    classes = tuple(str(digit) for digit in bunch.target_names)
    return RawData(classes, images[train], labels[train], images[test], labels[test])
