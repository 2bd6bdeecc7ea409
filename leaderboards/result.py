"""One record with the files beside it: per-image outcomes and figures."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import UserError
from bench.core.files import read_bytes, sha256
from bench.core.limits import exact_number, file_beside, moment
from bench.core.names import WORST_CASE, slug
from bench.core.record import RECORD, Record, load_record, read_arrays
from bench.core.standing import CHECKED, count_checks
from bench.core.values import shown
from leaderboards.contradictions import contradictions, is_looked_at
from leaderboards.left_out import LeftOut
from leaderboards.own_figures import Figure, find_figures
from leaderboards.packing import packed_with_length, unpacked
from leaderboards.processes import do_all, is_shared_out
from leaderboards.scrub import has_folders, scrubbed

#: Records that were admitted before: source → the arrays that a board needs, packed.
Admitted = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Result:
    """One trained network on the board.

    Attributes:
        record: the record itself; its worst case is the lowest number known.
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


def read_result(path: Path, *, unattacked: bool = False) -> Result:
    """Read a record, its worst-case outcomes and its figures; what extra checks broke counts as broken.

    Args:
        unattacked: take a record with ε = 0 too, which no board ranks.

    Raises:
        UserError: when the record is unreadable or invalid, or its arrays contradict it.
    """
    return _counted(*_as_written(path, unattacked=unattacked))


def _counted(result: Result, arrays: Mapping[str, np.ndarray]) -> Result:
    record, outcomes = count_checks(result.record, result.outcomes, arrays.get(CHECKED))
    return replace(result, record=record, outcomes=outcomes)


def _as_written(path: Path, *, unattacked: bool = False) -> tuple[Result, dict[str, np.ndarray]]:
    """A result, and the arrays that boards look at."""
    if path.is_dir():
        path = path / RECORD
    record = load_record(path)
    content = read_bytes(path)
    exact_eps(path, record, unattacked=unattacked)
    arrays = read_arrays(path, record, lambda name: name == CHECKED or is_looked_at(name))
    record = _without_folders(record, content)
    return _result(path, record, hashlib.sha256(content).hexdigest(), arrays), arrays


def _result(path: Path, record: Record, digest: str, arrays: Mapping[str, np.ndarray]) -> Result:
    return Result(
        record=record,
        path=path,
        digest=digest,
        eps=exact_number(record.threat.eps),
        created=moment(record.provenance.created),
        outcomes=_outcomes(path, record, arrays.get(WORST_CASE)),
        figures=find_figures(path.parent),
        stored=_has_arrays(path, record),
        arrays=_to_remember(arrays),
    )


def _to_remember(arrays: Mapping[str, np.ndarray]) -> Mapping[str, str] | None:
    found = {name: arrays[name] for name in (WORST_CASE, CHECKED) if name in arrays}
    if any(array.dtype != bool or array.ndim != 1 for array in found.values()):
        return None
    return {name: packed_with_length(array) for name, array in found.items()}


def _has_arrays(path: Path, record: Record) -> bool:
    file = record.files.get("arrays")
    return file is not None and (path.parent / file.path).is_file()


def _without_folders(record: Record, content: bytes) -> Record:
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
    return _read(paths, partial(read_result, unattacked=unattacked), strict)


def read_ranked(
    paths: Iterable[Path], *, strict: bool = True, admitted: Admitted | None = None
) -> tuple[list[Result], list[LeftOut]]:
    """As `read_results`, for boards: without records that contradict themselves or that have another's id.

    Of records with one id that are about different networks, the one made first stays.

    Args:
        admitted: what was read before: source → its arrays; these files are not checked again.
    """
    paths, known = list(paths), dict(admitted or {})
    if is_shared_out(len(paths) - len(known)):
        # Checking a record takes several times as long as reading it again.
        known |= dict(filter(None, do_all([partial(_admitted, path, known) for path in paths])))
    results, left_out = _read(paths, partial(_read_ranked, admitted=known), strict)
    impostors = _impostors(results)
    if strict and impostors:
        raise UserError(str(next(iter(impostors.values()))))
    kept = [result for result in results if result.digest not in impostors]
    return kept, [*left_out, *impostors.values()]


def _admitted(path: Path, admitted: Admitted) -> tuple[str, Mapping[str, str]] | None:
    """What to remember of a record that is admitted; None for another one, whose reading says why."""
    try:
        result = _read_ranked(path, admitted)
    except UserError:
        return None
    return None if result.arrays is None else (result.source, result.arrays)


def _read_ranked(path: Path, admitted: Admitted) -> Result:
    known = _read_again(path, admitted)
    if known is not None:
        return known
    result, arrays = _as_written(path)
    for file in result.record.files.values():
        file_beside(result.path, file.path)
    problems = list(contradictions(result.record, arrays))
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{result.path}: {'; '.join(problems[:3])}{more}")
    return _counted(result, arrays)


def _read_again(path: Path, admitted: Admitted) -> Result | None:
    """A result that was admitted before; None for another one."""
    if not admitted:
        return None
    if path.is_dir():
        path = path / RECORD
    file_beside(path, path.name)
    content = read_bytes(path)
    digest = hashlib.sha256(content).hexdigest()
    if f"{digest}+" not in admitted and f"{digest}-" not in admitted:
        return None
    record = Record.model_validate_json(content)
    source = f"{digest}{'+' if _has_arrays(path, record) else '-'}"
    if source not in admitted or (source.endswith("+") and not _same_arrays(path, record)):
        return None
    arrays = {name: unpacked(bits) for name, bits in admitted[source].items()}
    return _counted(_result(path, _without_folders(record, content), digest, arrays), arrays)


def _same_arrays(path: Path, record: Record) -> bool:
    file = record.files["arrays"]
    return sha256(file_beside(path, file.path)) == file.sha256


def _read(
    paths: Iterable[Path], read: Callable[[Path], Result], strict: bool
) -> tuple[list[Result], list[LeftOut]]:
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


def _impostors(results: Iterable[Result]) -> dict[str, LeftOut]:
    """By digest, the results whose id is that of an older result for something else.

    An evaluation that is repeated gives a record of the same id and about the same; the newer supersedes the older.
    """
    first: dict[str, Result] = {}
    found = {}
    for result in sorted(results, key=lambda result: (result.created, result.digest)):
        known = first.setdefault(result.record.id, result)
        if _about(result.record) != _about(known.record):
            reason = f"its id {shown(result.record.id)} is that of an older record about something else"
            found[result.digest] = LeftOut(result.path, reason)
    return found


def _about(record: Record) -> tuple[Any, ...]:
    training = record.training.recipe if record.training else None
    data = record.dataset
    return (
        *(record.defense.name, record.defense.hyperparameters, record.model, record.parameters, record.seed),
        *(training, data.fingerprint, data.evaluated_fingerprint, record.threat, record.battery.name),
        record.battery.version,
    )


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
