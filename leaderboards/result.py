"""One record with the files beside it: per-image outcomes and figures."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np

from bench.core.errors import UserError
from bench.core.files import sha256
from bench.core.names import WORST_CASE
from bench.core.record import RECORD, Record, load_record, read_arrays

#: Pictures of what the page draws itself, sharper and with its data beside it.
DRAWN_HERE = ("security", "training")


@dataclass(frozen=True)
class Figure:
    """The files of one figure beside a record: a picture, the chart as data, or both; neither is read yet."""

    name: str
    picture: Path | None
    chart: Path | None


@dataclass(frozen=True)
class Result:
    """One trained network on the board.

    Attributes:
        record: the record itself.
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
    """Read a record, its worst-case outcomes and its figures.

    Args:
        unattacked: take a record with ε = 0 too, which no board ranks.

    Raises:
        UserError: when the record is unreadable or invalid, or its arrays contradict it.
    """
    if path.is_dir():
        path = path / RECORD
    record = load_record(path)
    return Result(
        record=record,
        path=path,
        digest=sha256(path),
        eps=exact_eps(path, record, unattacked=unattacked),
        created=created_at(path, record),
        outcomes=_outcomes(path, record),
        figures=_figures(path.parent / "figures"),
    )


def read_results(
    paths: Iterable[Path], *, strict: bool = True, unattacked: bool = False
) -> tuple[list[Result], list[str]]:
    """Read many records in an order that does not depend on their paths.

    Args:
        paths: `record.json` files, or the folders that hold them.
        strict: stop at the first unreadable record; otherwise leave it out and return a warning.
        unattacked: as for `read_result`.

    Returns:
        The results without exact copies, sorted by digest, and the warnings.

    Raises:
        UserError: with `strict`, for the first unreadable record, naming it.
    """
    found: dict[str, Result] = {}
    warnings = []
    for path in sorted(set(paths)):
        try:
            result = read_result(path, unattacked=unattacked)
        except UserError as error:
            if strict:
                raise
            warnings.append(str(error))
            continue
        copy = found.get(result.digest)
        if copy is None or (copy.outcomes is None and result.outcomes is not None):
            found[result.digest] = result
    return [found[digest] for digest in sorted(found)], warnings


def exact_eps(path: Path, record: Record, *, unattacked: bool = False) -> Fraction:
    """The record's ε as an exact fraction.

    Args:
        unattacked: 0 will do.

    Raises:
        UserError: when ε is no number above zero.
    """
    try:
        eps = Fraction(record.threat.eps.replace(" ", ""))
    except (ValueError, ZeroDivisionError):
        eps = Fraction(-1)
    if eps == 0 and not unattacked:
        raise UserError(
            f"{path}: threat.eps is 0, which is clean accuracy and no threat; `bench compare` compares such records"
        )
    if eps < 0:
        raise UserError(
            f"{path}: threat.eps must be a number above 0 such as 8/255, got {record.threat.eps!r}"
        )
    return eps


def created_at(path: Path, record: Record) -> datetime:
    """When the record was made, in UTC; a time without zone is taken as UTC.

    Raises:
        UserError: when the time is not ISO 8601.
    """
    text = record.provenance.created
    try:
        created = datetime.fromisoformat(text)
        return created.replace(tzinfo=UTC) if created.tzinfo is None else created.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UserError(
            f"{path}: provenance.created must be ISO 8601 such as 2025-01-31T12:00:00Z, got {text!r}"
        ) from None


def _outcomes(path: Path, record: Record) -> np.ndarray | None:
    outcomes = read_arrays(path, record, [WORST_CASE]).get(WORST_CASE)
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


def _figures(folder: Path) -> tuple[Figure, ...]:
    found: dict[str, dict[str, Path]] = {}
    # A link could point at anything on the machine that builds the site.
    for path in sorted(folder.iterdir()) if folder.is_dir() and not folder.is_symlink() else []:
        readable = path.suffix in (".png", ".json") and path.is_file() and not path.is_symlink()
        if readable and path.stem not in DRAWN_HERE:
            found.setdefault(path.stem, {})[path.suffix] = path
    return tuple(Figure(name, files.get(".png"), files.get(".json")) for name, files in sorted(found.items()))
