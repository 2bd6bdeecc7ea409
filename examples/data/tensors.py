"""Tensors, by the name of their part. From this folder: `--data tensors:load`."""

import torch


def load() -> dict[str, tuple]:
    """Horizontal and vertical stripes in color: uint8 [N, C, H, W] with labels [N]."""
    rows = torch.zeros(3, 8, 8, dtype=torch.uint8)
    rows[:, ::2] = 255
    labels = torch.arange(500) % 2
    noise = torch.rand(500, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    images = (torch.stack([rows, rows.mT])[labels] * noise).byte()
    return {
        "train": (images[:400], labels[:400]),
        "test": (images[400:], labels[400:]),
        "classes": ("horizontal", "vertical"),
    }
