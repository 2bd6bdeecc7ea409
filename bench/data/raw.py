"""What a data set loader returns: all images and labels that a data set publishes, before the splits."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from bench.core.errors import UserError
from bench.data.pixels import is_nhwc


class Images(Protocol):
    """Images that are read by indexing: a uint8 tensor [N, C, H, W], or files that are decoded on demand."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Tensor) -> Tensor:
        """Images at an int64 index [M], as uint8 [M, C, H, W]."""
        ...


@dataclass(frozen=True)
class RawData:
    """Training and test images that a data set publishes.

    Args:
        classes: names of the classes; label k means `classes[k]`.
        train_images, test_images: uint8 [N, C, H, W], or an object that gives such a tensor when indexed.
        train_labels, test_labels: int64 [N].

    Raises:
        UserError: for wrong types or shapes, labels outside the classes, or unequal numbers of images and labels.
    """

    classes: tuple[str, ...]
    train_images: Tensor | Images
    train_labels: Tensor
    test_images: Tensor | Images
    test_labels: Tensor

    def __post_init__(self) -> None:
        if len(self.classes) < 2:
            raise UserError(f"a data set needs at least 2 classes, got {len(self.classes)}")
        _check("training", self.train_images, self.train_labels, len(self.classes))
        _check("test", self.test_images, self.test_labels, len(self.classes))


def _check(part: str, images: Tensor | Images, labels: Tensor, num_classes: int) -> None:
    if isinstance(images, Tensor) and (images.dtype != torch.uint8 or images.dim() != 4):
        raise UserError(
            f"{part} images must be uint8 of shape [N, C, H, W], got {images.dtype} of {list(images.shape)}"
        )
    if isinstance(images, Tensor) and is_nhwc(images.shape):
        raise UserError(
            f"{part} images must be of shape [N, C, H, W], got {list(images.shape)}, which is the layout NHWC; "
            "give images.permute(0, 3, 1, 2)"
        )
    if not isinstance(labels, Tensor):
        raise UserError(
            f"{part} labels must be a torch.Tensor, got {type(labels).__name__}; use torch.as_tensor"
        )
    if labels.dtype != torch.int64 or labels.dim() != 1:
        raise UserError(
            f"{part} labels must be int64 of shape [N], got {labels.dtype} of {list(labels.shape)}"
        )
    if len(images) != len(labels) or len(labels) == 0:
        raise UserError(f"expected as many {part} images as labels, got {len(images)} and {len(labels)}")
    if labels.min() < 0 or labels.max() >= num_classes:
        raise UserError(
            f"{part} labels must lie in 0 … {num_classes - 1} for {num_classes} classes, "
            f"got {labels.min().item()} … {labels.max().item()}"
        )
