"""One record with the files beside it: per-image outcomes and figures."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

from bench.core.errors import UserError
from bench.core.files import read_bytes
from bench.core.limits import exact_number, file_beside, moment
from bench.core.names import WORST_CASE, slug
from bench.core.record import RECORD, Record, parse_record, read_arrays
from bench.core.standing import CHECKED, count_checks
from leaderboards.contradictions import is_looked_at
from leaderboards.left_out import LeftOut
from leaderboards.own_figures import Figure, find_figures
from leaderboards.packing import packed_with_length
from leaderboards.scrub import has_folders, published, scrubbed


@dataclass(frozen=True)
class Result:
    """One trained network on the board.

    Attributes:
        record: the record itself; its worst case is the lowest number known. Of one that was read for a board, the
            curves, the history and the costs by metric are left out; `whole` reads them.
        path: where it was read from; never shown.
        digest: SHA-256 of the file.
        eps: ε as an exact fraction.
        created: when the battery ran, in UTC.
        outcomes: bool [n], which test images no attack broke; None when the arrays are not there.
        figures: the figures beside the record, by name.
        stored: whether its arrays were there.
        arrays: those of its arrays that a board needs, by name, packed; None where it is not to be
            remembered.
    """

    record: Record
    path: Path
    digest: str
    eps: Fraction
    created: datetime
    outcomes: np.ndarray | None
    figures: tuple[Figure, ...]
    stored: bool = False
    arrays: Mapping[str, str] | None = None

    @property
    def source(self) -> str:
        """What it was read from: the digest of the record, and whether its arrays were there."""
        return f"{self.digest}{'+' if self.stored else '-'}"

    @property
    def file(self) -> str:
        """File name of the record's copy in a site."""
        return f"{slug(self.record.id)}-{self.digest[:12]}.json"

    def published(self) -> bytes:
        """The file as a site publishes it, read again.

        Raises:
            UserError: when it has changed since.
        """
        content = read_bytes(self.path)
        if hashlib.sha256(content).hexdigest() != self.digest:
            raise UserError(f"{self.path} has changed while it was read; try again")
        return published(content)

    def whole(self, content: bytes) -> "Result":
        """The same with all that its record holds; `content` is what `published` gives."""
        record = Record.model_validate_json(content)
        # What was counted against it stays.
        counted = {"metrics": self.record.metrics, "alarms": self.record.alarms}
        return replace(self, record=record.model_copy(update=counted))


def read_result(path: Path, *, unattacked: bool = False) -> Result:
    """Read a record, its worst-case outcomes and its figures; what extra checks broke counts as broken.

    Args:
        unattacked: take a record with ε = 0 too, which no board ranks.

    Raises:
        UserError: when the record is unreadable or invalid, or its arrays contradict it.
    """
    return counted(*as_written(path, unattacked=unattacked))


def counted(result: Result, arrays: Mapping[str, np.ndarray]) -> Result:
    """A result whose worst case counts what extra checks broke; `arrays` are those of the record."""
    record, outcomes = count_checks(result.record, result.outcomes, arrays.get(CHECKED))
    return replace(result, record=record, outcomes=outcomes)


def as_written(path: Path, *, unattacked: bool = False) -> tuple[Result, dict[str, np.ndarray]]:
    """A result, and the arrays that boards look at."""
    if path.is_dir():
        path = path / RECORD
    file_beside(path, path.name)
    content = read_bytes(path)
    record = parse_record(path, content)
    exact_eps(path, record, unattacked=unattacked)
    arrays = read_arrays(path, record, lambda name: name == CHECKED or is_looked_at(name))
    record = without_folders(record, content)
    return make_result(path, record, hashlib.sha256(content).hexdigest(), arrays), arrays


def make_result(path: Path, record: Record, digest: str, arrays: Mapping[str, np.ndarray]) -> Result:
    """The result of a record that was read from a file with this digest, with its arrays."""
    return Result(
        record=record,
        path=path,
        digest=digest,
        eps=exact_number(record.threat.eps),
        created=moment(record.provenance.created),
        outcomes=_outcomes(path, record, arrays.get(WORST_CASE)),
        figures=find_figures(path.parent),
        stored=has_arrays(path, record),
        arrays=_to_remember(arrays),
    )


def _to_remember(arrays: Mapping[str, np.ndarray]) -> Mapping[str, str] | None:
    found = {name: arrays[name] for name in (WORST_CASE, CHECKED) if name in arrays}
    if any(array.dtype != bool or array.ndim != 1 for array in found.values()):
        return None
    return {name: packed_with_length(array) for name, array in found.items()}


def has_arrays(path: Path, record: Record) -> bool:
    """Whether the arrays that a record names lie beside it."""
    file = record.files.get("arrays")
    return file is not None and (path.parent / file.path).is_file()


def without_folders(record: Record, content: bytes) -> Record:
    """A record without the folders of the machine that made it.

    Args:
        content: its file.
    """
    return Record.model_validate(scrubbed(record.model_dump(mode="json"))) if has_folders(content) else record


def read_results(
    paths: Iterable[Path], *, strict: bool = True, unattacked: bool = False
) -> tuple[list[Result], list[LeftOut]]:
    """Read many records in an order that does not depend on their paths.

    Args:
        paths: `record.json` files, or the folders that hold them.
        strict: stop at the first record that is not admitted; otherwise leave it out.
        unattacked: as for `read_result`.

    Returns:
        The results without exact copies, sorted by digest, and what was left out.

    Raises:
        UserError: with `strict`, for the first record that is not admitted, naming it.
    """
    return read_each(paths, partial(read_result, unattacked=unattacked), strict)


def read_each(
    paths: Iterable[Path], read: Callable[[Path], Result], strict: bool
) -> tuple[list[Result], list[LeftOut]]:
    """What a function reads of many records, in an order that does not depend on paths; see `read_results`."""
    found: dict[str, Result] = {}
    left_out = []
    for path in sorted(set(paths)):
        try:
            result = read(path)
        except UserError as error:
            if strict:
                raise
            left_out.append(LeftOut.because(path / RECORD if path.is_dir() else path, error))
            continue
        copy = found.get(result.digest)
        if copy is None or (copy.outcomes is None and result.outcomes is not None):
            found[result.digest] = result
    return [found[digest] for digest in sorted(found)], left_out


def _outcomes(path: Path, record: Record, outcomes: np.ndarray | None) -> np.ndarray | None:
    score = record.metrics.get(WORST_CASE)
    if outcomes is None or score is None or score.value is None:
        return None
    n = record.dataset.evaluated_size
    if outcomes.dtype != bool or outcomes.shape != (n,):
        raise UserError(
            f"{path}: array {WORST_CASE} must be bool [{n}], got {outcomes.dtype} {list(outcomes.shape)}"
        )
    if n == 0 or abs(outcomes.mean() - score.value) > 0.5 / n:
        raise UserError(f"{path}: array {WORST_CASE} does not give the score {score.value} of the record")
    return outcomes


def exact_eps(path: Path, record: Record, *, unattacked: bool = False) -> Fraction:
    """The record's ε as an exact fraction.

    Args:
        unattacked: 0 will do.

    Raises:
        UserError: when ε is zero.
    """
    eps = exact_number(record.threat.eps)
    if eps == 0 and not unattacked:
        raise UserError(
            f"{path}: threat.eps is 0, which is clean accuracy and no threat; `bench compare` compares such records"
        )
    return eps
