"""CIFAR-10 and CIFAR-100 (Krizhevsky, 2009); torchvision verifies the published checksums."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision import datasets

from bench.data.published import open_published
from bench.data.raw import RawData


def cifar10(data_dir: Path, download: bool) -> RawData:
    """50,000 training and 10,000 test color images, 32x32, in 10 classes, from `cifar-10-batches-py`."""
    return _cifar("cifar10", datasets.CIFAR10, data_dir, download)


def cifar100(data_dir: Path, download: bool) -> RawData:
    """50,000 training and 10,000 test color images, 32x32, in 100 classes, from `cifar-100-python`."""
    return _cifar("cifar100", datasets.CIFAR100, data_dir, download)


def _cifar(name: str, kind: Any, data_dir: Path, download: bool) -> RawData:
    batches = [file for file, _ in kind.train_list + kind.test_list]
    files = [f"{kind.base_folder}/{file}" for file in [*batches, kind.meta["filename"]]]
    train, test = open_published(
        name,
        data_dir,
        files,
        download,
        lambda train, folder, download: kind(folder, train=train, download=download),
        [kind.filename],
    )

    def images(part: Any) -> Tensor:
        return torch.from_numpy(part.data).permute(0, 3, 1, 2).contiguous()

    return RawData(
        tuple(train.classes),
        images(train),
        torch.tensor(train.targets),
        images(test),
        torch.tensor(test.targets),
    )
