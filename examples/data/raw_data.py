"""`RawData`, for files in a data folder that are fetched on request. From this folder: `--data raw_data:load`."""

from pathlib import Path

import torch

from bench.data import RawData


def load(data_dir: Path, download: bool) -> RawData:
    """Half planes, drawn once into a file; whoever has files looks for them in `data_dir`."""
    path = data_dir / "half_planes.pt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(draw(400), path)
    images, labels = torch.load(path, weights_only=True)
    return RawData(("left", "right"), images[:300], labels[:300], images[300:], labels[300:])


def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose left or right half is bright, uint8 [N, 1, 8, 8], and labels int64 [N]."""
    labels = torch.arange(count) % 2
    images = torch.randint(100, (count, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    for side in (0, 1):
        images[labels == side, :, :, 4 * side : 4 * side + 4] += 150
    return images.byte(), labels
