"""The fixed splits: which images train, validate and test, the same for everyone and every training seed.

One rule for every data set. The published training set is put into a stratified order; its first tenth (at
most 5,000 images, at least one of each class) is kept for validation, the rest trains. `train_size` takes the
first so many of the rest, and validation then shrinks with it: it is always 10 % of training and validation
together, within the same limits. `test_size` takes the first so many of the test set in a stratified order.
So smaller sizes are always part of larger ones, and no image ever moves from validation to training.
"""

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.core.randomness import derive_seed

MOST_VALIDATION = 5_000


def stratified_order(labels: Tensor, purpose: str) -> Tensor:
    """A fixed random order in which every beginning holds the classes in their overall proportions.

    The r-th image (from 0) of a class with n images stands at (r + ½)/n; the first image of each class stands
    at 0, so that a beginning as long as there are classes misses none, unless the class has but one image.

    Args:
        labels: int64 [N].
        purpose: names the order; orders with different names are unrelated.

    Returns:
        Indices, int64 [N].
    """
    # RandomState, because NumPy promises never to change its streams: the splits must outlive releases.
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
    """Indices of the training and of the validation images, disjoint; see the rule above.

    Args:
        labels: int64 [N] of the published training set.
        train_size: how many images train; None is all that validation leaves.

    Raises:
        UserError: when `train_size` is not between 1 and what validation leaves.
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
    # A ninth of the training images is a tenth of both together.
    return train, validation[: max(num_classes, train_size // 9)]


def split_test(labels: Tensor, test_size: int | None) -> Tensor:
    """Indices of the test images, in the fixed order whatever their number.

    Raises:
        UserError: when `test_size` is not between 1 and the size of the test set.
    """
    if test_size is None:
        test_size = len(labels)
    if not 1 <= test_size <= len(labels):
        raise UserError(f"--test-size must lie in 1 … {len(labels)}, got {test_size}")
    return stratified_order(labels, "test")[:test_size]
