"""MNIST (LeCun et al., 1998) and Fashion-MNIST (Xiao et al., 2017)."""

from pathlib import Path
from typing import Any

from torchvision import datasets

from bench.data.published import open_published
from bench.data.raw import RawData


def mnist(data_dir: Path, download: bool) -> RawData:
    """60,000 training and 10,000 test images of handwritten digits, 28x28, from the IDX files in `MNIST/raw`."""
    return _idx("mnist", datasets.MNIST, data_dir, download)


def fashion_mnist(data_dir: Path, download: bool) -> RawData:
    """60,000 training and 10,000 test gray images of clothing, 28x28, from the IDX files in `FashionMNIST/raw`."""
    return _idx("fashion-mnist", datasets.FashionMNIST, data_dir, download)


def _idx(name: str, kind: Any, data_dir: Path, download: bool) -> RawData:
    files = [f"{kind.__name__}/raw/{archive.removesuffix('.gz')}" for archive, _ in kind.resources]
    train, test = open_published(
        name,
        data_dir,
        files,
        download,
        lambda train, folder, download: kind(folder, train=train, download=download),
        [f"{kind.__name__}/raw/{archive}" for archive, _ in kind.resources],
    )
    return RawData(
        tuple(kind.classes), train.data.unsqueeze(1), train.targets, test.data.unsqueeze(1), test.targets
    )
