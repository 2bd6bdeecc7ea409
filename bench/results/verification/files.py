"""Check the files of a record: their hashes, and the types and shapes of the arrays in them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from bench.core.archives import read_npz
from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.limits import file_beside
from bench.core.names import CLEAN_ACCURACY, WORST_CASE
from bench.core.record import RECORD, Record
from bench.results.verification.check import Check, is_attack, outcome_of


def check_hashes(record: Record, folder: Path, weights: Path | None) -> Iterator[Check]:
    """Compare every file of a record with the hash that the record states.

    Args:
        record: names its files.
        folder: the record's folder.
        weights: the weights, when they are not in that folder. Another file than the record's is not a mismatch.
    """
    for kind, file in record.files.items():
        name, path = f"file {kind}", folder / file.path
        if not _is_beside(folder, file.path):
            yield Check(name, "mismatch", f"{file.path} lies outside the record's folder")
        elif kind == "weights" and weights is not None:
            same = weights.is_file() and sha256(weights) == file.sha256
            found = "its hash is the record's" if same else "its hash is not the record's: another file"
            yield Check(name, "match" if same else "not checked", f"{weights.name}: {found}")
        elif not path.is_file():
            yield Check(name, "not checked", f"{file.path} is missing")
        else:
            same = sha256(path) == file.sha256
            found = ": SHA-256" if same else " has changed since the record was written"
            yield Check(name, outcome_of(same), f"{file.path}{found}")


def _is_beside(folder: Path, name: str) -> bool:
    try:
        file_beside(folder / RECORD, name)
    except UserError:
        return False
    return True


def load_archive(folder: Path, record: Record, kind: str) -> dict[str, np.ndarray]:
    """Read the arrays of one of the record's npz files.

    Raises:
        UserError: when the file cannot be read.
    """
    return read_npz(folder / record.files[kind].path)


def malformed_arrays(record: Record, arrays: Mapping[str, np.ndarray]) -> Iterator[str]:
    """Outcomes of accuracies that are not one boolean per image, in words."""
    n = record.dataset.evaluated_size
    for name, array in arrays.items():
        if name in (CLEAN_ACCURACY, WORST_CASE) or is_attack(name):
            whole_test_set = name == CLEAN_ACCURACY
            fits = array.dtype == bool and array.ndim == 1 and (whole_test_set or len(array) == n)
            if not fits or not len(array):
                size = "N" if whole_test_set else n
                yield f"array {name} must be bool [{size}], got {array.dtype} {list(array.shape)}"


def malformed_examples(examples: Mapping[str, np.ndarray]) -> Iterator[str]:
    """What is wrong with the arrays of the stored adversarial images, in words."""
    expected = {"attack": ("U", 1), "test_index": ("i", 1), "image": ("f", 4)}
    if not examples:
        return
    found = {name: (array.dtype.kind, array.ndim) for name, array in examples.items()}
    sizes = {len(array) for array in examples.values() if array.ndim}
    if found != expected or len(sizes) != 1:
        yield (
            f"stored images must be the arrays {', '.join(expected)} of equal length, "
            f"got {', '.join(found) or 'nothing'}"
        )
