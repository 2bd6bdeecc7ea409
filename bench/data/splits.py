"""The fixed training, validation and test splits, equal for everyone and for every training seed.

One rule serves every data set. The published training set is put into a stratified order. Its first tenth (at
most 5,000 images, at least as many as there are classes) is kept for validation, and the rest is for training.
`train_size` takes the first images of the rest in a stratified order. The validation split then shrinks too: it
is always 10 % of training and validation together, within the same limits. `test_size` takes the first images of
the test set in a stratified order. A smaller split is therefore always part of a larger one, and no image ever
moves from validation to training.
"""

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.randomness import derive_seed

MOST_VALIDATION = 5_000


def stratified_order(labels: Tensor, purpose: str) -> Tensor:
    """A fixed random order in which every prefix holds the classes in their overall proportions.

    Images are sorted by position: the r-th image (from 0) of a class with n images has position (r + ½)/n. The
    first image of a class with n > 1 has position 0, so that a prefix as long as the number of classes contains
    each of them.

    Args:
        labels: int64 [N].
        purpose: name of the order; orders of different names are independent.

    Returns:
        Indices, int64 [N].
    """
    # NumPy guarantees the streams of RandomState across releases, and the splits must never change.
    shuffled = np.random.RandomState(derive_seed("split", purpose) % 2**32).permutation(len(labels))
    shuffled_labels = labels.numpy()[shuffled]
    place = np.empty(len(labels))
    for label in np.unique(shuffled_labels):
        members = np.flatnonzero(shuffled_labels == label)
        place[members] = (np.arange(len(members)) + 0.5) / len(members)
        if len(members) > 1:
            place[members[0]] = 0
    return torch.from_numpy(shuffled[np.argsort(place, kind="stable")])


def split_training(labels: Tensor, train_size: int | None) -> tuple[Tensor, Tensor]:
    """Indices of the training and of the validation images, disjoint, by the rule of this module.

    Args:
        labels: int64 [N] of the published training set.
        train_size: number of training images; None uses all that are not kept for validation.

    Raises:
        UserError: when `train_size` is below 1, or above the number of images not kept for validation.
    """
    num_classes = len(labels.unique())
    order = stratified_order(labels, "validation")
    kept = min(MOST_VALIDATION, max(num_classes, len(labels) // 10), len(labels) // 2)
    validation, rest = order[:kept], order[kept:]
    if train_size is None:
        train_size = len(rest)
    if not 1 <= train_size <= len(rest):
        raise UserError(
            f"--train-size must lie in 1 … {len(rest)} ({kept} of {len(labels)} images are for validation), "
            f"got {train_size}"
        )
    train = rest[stratified_order(labels[rest], "training")[:train_size]]
    # A ninth of the training images is a tenth of training and validation together.
    return train, validation[: max(num_classes, train_size // 9)]


def split_test(labels: Tensor, test_size: int | None) -> Tensor:
    """Indices of the test images, in an order that does not depend on `test_size`.

    Raises:
        UserError: when `test_size` is not between 1 and the size of the test set.
    """
    if test_size is None:
        test_size = len(labels)
    if not 1 <= test_size <= len(labels):
        raise UserError(f"--test-size must lie in 1 … {len(labels)}, got {test_size}")
    return stratified_order(labels, "test")[:test_size]
