"""A data set as uint8 tensors in three splits, with a fingerprint."""

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Images as uint8 [N, C, H, W] and labels as int64 [N], on one device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """float32 images in [0, 1] and labels at `index`."""
        return as_floats(self.images[index]), self.labels[index]

    def to(self, device: torch.device | str) -> "Split":
        """Copy to another device."""
        return Split(self.images.to(device), self.labels.to(device))

    def take(self, n: int) -> "Split":
        """The first `n` images."""
        return Split(self.images[:n], self.labels[:n])


@dataclass(frozen=True)
class Dataset:
    """Three splits of one data set; only the final battery reads `test`."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over class names, images and labels of all splits, in order."""
        splits = (self.train, self.validation, self.test)
        pixels = fingerprint(*(tensor for split in splits for tensor in (split.images, split.labels)))
        return hashlib.sha256(json.dumps([pixels, self.classes]).encode()).hexdigest()

    @property
    def mean(self) -> tuple[float, ...]:
        """Per-channel mean of the training pixels in [0, 1], to 4 digits."""
        return self._moments[0]

    @property
    def std(self) -> tuple[float, ...]:
        """Per-channel standard deviation of the training pixels in [0, 1], to 4 digits and at least 0.001."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        # Histograms are exact on every device, and need no float copy of the training set.
        level = torch.arange(256, dtype=torch.float64) / 255
        mean, std = [], []
        for channel in range(self.shape[0]):
            counts = torch.bincount(self.train.images[:, channel].flatten(), minlength=256).cpu().double()
            share = counts / counts.sum()
            center = (share * level).sum()
            mean.append(round(center.item(), 4))
            std.append(max(round(math.sqrt((share * (level - center) ** 2).sum().item()), 4), 1e-3))
        return tuple(mean), tuple(std)

    def to(self, device: torch.device | str) -> "Dataset":
        """Copy to another device."""
        return Dataset(
            self.name, self.classes, self.train.to(device), self.validation.to(device), self.test.to(device)
        )


def as_floats(images: Tensor) -> Tensor:
    """Images uint8 as float32 in [0, 1], the same on every device.

    A CUDA device multiplies by the reciprocal of a plain number, and by one rounding misses the quotient of half of
    all values; by a tensor it divides.
    """
    return images.float() / torch.full((), 255.0, device=images.device)


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 digest, in hex, of the type, shape and bytes of each tensor in turn."""
    digest = hashlib.sha256()
    for tensor in tensors:
        tensor = tensor.detach().cpu().contiguous()
        try:
            array = tensor.numpy()
        except TypeError:  # numpy has no bfloat16
            array = tensor.reshape(-1).view(torch.uint8).numpy()
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
