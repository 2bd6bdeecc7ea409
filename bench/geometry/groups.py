"""Groups of images: draw them at random, select them by decision region, load them batch by batch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.progress import Progress
from bench.data import Split
from bench.geometry.regions import Patterns

#: Rows compared at once.
_CHUNK = 1 << 16


def draw(qualify: NDArray[np.bool_], count: int | None, generator: torch.Generator) -> NDArray[np.int64]:
    """Draw `count` of the images that qualify, without replacement, and return their positions in ascending order.

    Args:
        qualify: bool [N].
        count: number of images; all that qualify where it is None or exceeds their number.
        generator: on the CPU.
    """
    positions = np.flatnonzero(qualify)
    if count is None or len(positions) <= count:
        return positions
    chosen = torch.randperm(len(positions), generator=generator)[:count].numpy()
    return np.sort(positions[chosen])


def in_own_row(patterns: Patterns, labels: NDArray[np.integer], rows: Patterns) -> NDArray[np.bool_]:
    """Samples [N] that lie in the region of their class: patterns[i] == rows[labels[i]].

    Args:
        patterns: uint64 [N, W].
        labels: int [N], 0 … C − 1.
        rows: uint64 [C, W], such as the major regions (P1, definition 4).
    """
    inside = np.empty(len(patterns), dtype=bool)
    for start in range(0, len(patterns), _CHUNK):
        part = slice(start, start + _CHUNK)
        inside[part] = (patterns[part] == rows[labels[part]]).all(axis=1)
    return inside


def batches(
    split: Split, index: NDArray[np.int64], batch_size: int, progress: Progress, name: str
) -> Iterator[Tensor]:
    """The images of a split at some positions, float32 [B, C, H, W] in [0, 1], with a progress bar.

    Args:
        split: on any device; the batches are on the same one.
        index: int64 [n].
        batch_size: the largest B.
        progress, name: the display of the progress bar, and its name.
    """
    with progress.task(name, len(index)) as task:
        for start in range(0, len(index), batch_size):
            part = torch.from_numpy(index[start : start + batch_size]).to(split.labels.device)
            yield split.batch(part)[0]
            task.advance(len(part))
