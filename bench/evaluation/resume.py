"""Finished metrics of an evaluation under way, so that a killed one never repeats them."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from bench.attacks.resume import same_run
from bench.core.files import replacing, write_text
from metrics.base import Metric
from metrics.evaluation import Arrays


@dataclass
class Part:
    """One finished metric: its arrays or why there are none, and what it took."""

    arrays: Arrays
    reason: str
    seconds: float
    forwards: int
    backwards: int


class Parts:
    """Finished metrics of an evaluation under way, one file each; another network's parts are thrown away."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        mark = folder / "identity"
        if folder.exists() and (not mark.exists() or not same_run(mark.read_text(), identity)):
            self.remove()
        if not mark.exists():
            write_text(mark, identity)

    def _path(self, metric: Metric) -> Path:
        return self.folder / f"{metric.name.replace('/', '.')}.npz"

    def load(self, metric: Metric) -> Part | None:
        """The finished part of a metric; None when there is none, or it was cut short."""
        path = self._path(metric)
        if not path.exists():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
        except (OSError, ValueError, BadZipFile):
            return None
        seconds, forwards, backwards = arrays.pop("__cost__")
        return Part(arrays, str(arrays.pop("__reason__")), float(seconds), int(forwards), int(backwards))

    def save(self, metric: Metric, part: Part) -> None:
        """Keep a finished metric."""
        cost = np.array([part.seconds, part.forwards, part.backwards], dtype=np.float64)
        save_arrays(
            self._path(metric), {**part.arrays, "__cost__": cost, "__reason__": np.array(part.reason)}
        )

    def remove(self) -> None:
        """Throw every part away."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as npz, whole or not at all; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
