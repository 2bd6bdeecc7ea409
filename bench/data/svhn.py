"""Street View House Numbers (Netzer et al., 2011); torchvision verifies the published checksums."""

from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from bench.data.published import open_published
from bench.data.raw import RawData


def svhn(data_dir: Path, download: bool) -> RawData:
    """73,257 training and 26,032 test color images of house numbers, 32x32, from two .mat files."""
    files = [datasets.SVHN.split_list[split][1] for split in ("train", "test")]

    def open_part(train: bool, folder: Path, download: bool) -> Any:
        return datasets.SVHN(folder, split="train" if train else "test", download=download)

    train, test = open_published("svhn", data_dir, files, download, open_part)
    return RawData(
        tuple("0123456789"),
        torch.from_numpy(train.data).contiguous(),
        torch.from_numpy(train.labels),
        torch.from_numpy(test.data).contiguous(),
        torch.from_numpy(test.labels),
    )
