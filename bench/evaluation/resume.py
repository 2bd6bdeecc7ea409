"""The finished metrics of an evaluation on disk, so that a resumed evaluation does not repeat them."""

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.attacks.resume import same_run
from bench.core.errors import UserError
from bench.core.files import open_regular, read_bytes, replacing, write_text
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
        say: told which files are damaged; their metrics are measured again.
    """

    def __init__(self, folder: Path, identity: str, say: Callable[[str], None] = lambda line: None) -> None:
        self.folder = folder
        self.say = say
        mark = folder / "identity"
        if os.path.lexists(folder) and not same_run(_read(mark), identity):
            self.remove()
        if not mark.exists():
            write_text(mark, identity)
        # Without the last line, which holds logits up to rounding.
        self._digest = hashlib.sha256(identity.rpartition("\n")[0].encode()).hexdigest()

    def _path(self, metric: Metric) -> Path:
        return self.folder / f"{metric.name.replace('/', '.')}.npz"

    def _mark(self, metric: Metric) -> str:
        return f"{self._digest} {metric.name}"

    def load(self, metric: Metric) -> FinishedMetric | None:
        """The finished metric; None when there is none, or its file is damaged or holds something else."""
        path = self._path(metric)
        if not os.path.lexists(path):
            return None
        try:
            with open_regular(path) as stream, np.load(stream, allow_pickle=False) as stored:
                arrays = {key: stored[key] for key in stored.files}
            if str(arrays.pop("__of__")) != self._mark(metric):
                raise ValueError("of another evaluation")
            seconds, forwards, backwards = arrays.pop("__cost__")
            reason = str(arrays.pop("__reason__"))
        # What is no archive of arrays may raise anything; EOFError, which is no OSError, where it is empty.
        except Exception:
            self.say(f"{path} is damaged; {metric.name} is measured again")
            self._delete(path)
            return None
        return FinishedMetric(arrays, reason, float(seconds), int(forwards), int(backwards))

    def save(self, metric: Metric, finished: FinishedMetric) -> None:
        """Write a finished metric."""
        about = {
            "__cost__": np.array([finished.seconds, finished.forwards, finished.backwards], dtype=np.float64),
            "__reason__": np.array(finished.reason),
            "__of__": np.array(self._mark(metric)),
        }
        save_arrays(self._path(metric), {**finished.arrays, **about})

    def remove(self) -> None:
        """Delete the folder and every file in it."""
        self._delete(self.folder)

    def _delete(self, path: Path) -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _read(path: Path) -> str:
    try:
        return read_bytes(path).decode()
    except (UserError, UnicodeDecodeError):
        return ""


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as npz, whole or not at all; equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
