"""One record with the files beside it: per-image outcomes and figures."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.limits import exact_number, file_beside, moment
from bench.core.names import WORST_CASE
from bench.core.record import RECORD, Record, load_record, read_arrays
from bench.core.standing import CHECKED, count_checks
from bench.core.values import shown
from leaderboards.contradictions import contradictions, is_looked_at

#: Pictures of what the page draws itself, sharper and with its data beside it.
DRAWN_HERE = ("security", "training")


@dataclass(frozen=True)
class Figure:
    """The files of one figure beside a record: a picture, the chart as data, or both; neither is read yet."""

    name: str
    picture: Path | None
    chart: Path | None

    @property
    def path(self) -> Path:
        """One of its files, to name it by."""
        path = self.chart or self.picture
        assert path is not None
        return path


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
    """

    record: Record
    path: Path
    digest: str
    eps: Fraction
    created: datetime
    outcomes: np.ndarray | None
    figures: tuple[Figure, ...]


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
    eps = exact_eps(path, record, unattacked=unattacked)
    arrays = read_arrays(path, record, lambda name: name == CHECKED or is_looked_at(name))
    result = Result(
        record=record,
        path=path,
        digest=sha256(path),
        eps=eps,
        created=moment(record.provenance.created),
        outcomes=_outcomes(path, record, arrays.get(WORST_CASE)),
        figures=find_figures(path.parent),
    )
    return result, arrays


@dataclass(frozen=True)
class LeftOut:
    """A record, or a figure of one, that no board shows, and why; the reason names no folder."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"

    @classmethod
    def because(cls, path: Path, error: Exception) -> "LeftOut":
        """What an error says of a file, without the folders of the machine that read it."""
        words = str(error).replace(f"{path.parent}/", "")
        return cls(path, words.removeprefix(path.name).removeprefix(":").strip())


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


def read_ranked(paths: Iterable[Path], *, strict: bool = True) -> tuple[list[Result], list[LeftOut]]:
    """As `read_results`, for boards: without records that contradict themselves or that have another's id.

    Of records with one id that are about different networks, the one made first stays.
    """
    results, left_out = _read(paths, _read_ranked, strict)
    impostors = _impostors(results)
    if strict and impostors:
        raise UserError(str(next(iter(impostors.values()))))
    kept = [result for result in results if result.digest not in impostors]
    return kept, [*left_out, *impostors.values()]


def _read_ranked(path: Path) -> Result:
    result, arrays = _as_written(path)
    for file in result.record.files.values():
        file_beside(result.path, file.path)
    problems = list(contradictions(result.record, arrays))
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{result.path}: {'; '.join(problems[:3])}{more}")
    return _counted(result, arrays)


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


def find_figures(folder: Path) -> tuple[Figure, ...]:
    """The figures in the folder `figures` beside a record."""
    folder = folder / "figures"
    found: dict[str, dict[str, Path]] = {}
    # A link could point at anything on the machine that builds the site.
    for path in sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []:
        readable = path.suffix in (".png", ".json") and path.is_file() and not path.is_symlink()
        if readable and path.stem not in DRAWN_HERE:
            found.setdefault(path.stem, {})[path.suffix] = path
    return tuple(Figure(name, files.get(".png"), files.get(".json")) for name, files in sorted(found.items()))
