"""The finished metrics of an evaluation on disk, so that a resumed evaluation does not repeat them."""

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
class FinishedMetric:
    """A finished metric.

    Attributes:
        arrays: what it measured; empty where it could not be measured.
        reason: why it could not be measured, or "".
        seconds: wall-clock time.
        forwards, backwards: passes, in images.
    """

    arrays: Arrays
    reason: str
    seconds: float
    forwards: int
    backwards: int


class FinishedMetrics:
    """The finished metrics of one evaluation, one file each.

    Args:
        folder: of the files; the files of another evaluation in it are deleted.
        identity: of the evaluation; compared by `bench.attacks.resume.same_run`.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        mark = folder / "identity"
        if folder.exists() and (not mark.exists() or not same_run(mark.read_text(), identity)):
            self.remove()
        if not mark.exists():
            write_text(mark, identity)

    def _path(self, metric: Metric) -> Path:
        return self.folder / f"{metric.name.replace('/', '.')}.npz"

    def load(self, metric: Metric) -> FinishedMetric | None:
        """The finished metric; None when there is none, or its file is incomplete."""
        path = self._path(metric)
        if not path.exists():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
        except (OSError, ValueError, BadZipFile):
            return None
        seconds, forwards, backwards = arrays.pop("__cost__")
        return FinishedMetric(
            arrays, str(arrays.pop("__reason__")), float(seconds), int(forwards), int(backwards)
        )

    def save(self, metric: Metric, finished: FinishedMetric) -> None:
        """Write a finished metric."""
        cost = np.array([finished.seconds, finished.forwards, finished.backwards], dtype=np.float64)
        save_arrays(
            self._path(metric), {**finished.arrays, "__cost__": cost, "__reason__": np.array(finished.reason)}
        )

    def remove(self) -> None:
        """Delete the folder and every file in it."""
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as npz, whole or not at all; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
