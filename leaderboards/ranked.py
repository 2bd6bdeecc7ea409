"""Read records for boards: those that contradict themselves, or that have another's id, are left out."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import compact_json, read_bytes, sha256
from bench.core.limits import file_beside
from bench.core.record import RECORD, Part, Record
from bench.core.values import shown
from leaderboards.contradictions import contradictions
from leaderboards.left_out import LeftOut
from leaderboards.packing import packed_with_length, unpacked
from leaderboards.processes import do_each, is_shared_out
from leaderboards.result import (
    Result,
    as_written,
    counted,
    has_arrays,
    make_result,
    read_each,
    without_folders,
)

#: Records that were admitted before: source → the arrays that a board needs, packed.
Admitted = Mapping[str, Mapping[str, str]]


def read_ranked(
    paths: Iterable[Path], *, strict: bool = True, admitted: Admitted | None = None
) -> tuple[list[Result], list[LeftOut]]:
    """As `read_results`, for boards: without records that contradict themselves or that have another's id.

    Of records with one id that are about different networks, the one made first stays. What boards do not show of a
    record is left out, so that thousands fit in memory; see `Result`.

    Args:
        admitted: what was read before: source → its arrays; these files are not checked again.
    """
    paths = sorted(set(paths))
    results, left_out = read_each(paths, _reader(paths, admitted or {}), strict)
    impostors = _impostors(results)
    if strict and impostors:
        raise UserError(str(next(iter(impostors.values()))))
    kept = [result for result in results if result.digest not in impostors]
    return kept, [*left_out, *impostors.values()]


def _reader(paths: Sequence[Path], admitted: Admitted) -> Callable[[Path], Result]:
    """What reads these files, in this order: processes that send what they have read, or this one."""
    brief = _Brief()
    if not is_shared_out(len(paths)):
        return lambda path: brief(_read_ranked(path, admitted))
    sent = do_each([partial(_send, path, admitted) for path in paths])
    return lambda path: brief(_receive(next(sent)))


@dataclass(frozen=True)
class _Sent:
    """A result on its way from one process to another: the record as JSON, the outcomes packed."""

    result: Result
    record: bytes
    outcomes: str | None


def _send(path: Path, admitted: Admitted) -> _Sent | str:
    """Read a result; a text says why it is not admitted."""
    try:
        result = _Brief()(_read_ranked(path, admitted))
    except UserError as error:
        return str(error)
    # Objects of pydantic take longer to unpickle than to make from JSON.
    record = result.record.model_dump_json().encode()
    outcomes = None if result.outcomes is None else packed_with_length(result.outcomes)
    return _Sent(replace(result, record=None, outcomes=None), record, outcomes)  # type: ignore[arg-type]


def _receive(sent: _Sent | str) -> Result:
    if isinstance(sent, str):
        raise UserError(sent)
    record = Record.model_validate_json(sent.record)
    outcomes = None if sent.outcomes is None else unpacked(sent.outcomes)
    return replace(sent.result, record=record, outcomes=outcomes)


class _Brief:
    """Results without what boards do not show of a record; parts that many records share are there once."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}

    def __call__(self, result: Result) -> Result:
        record = result.record
        about: dict[str, Any] = {} if record.training is None else {"config": {}}
        about |= {name: self._once(getattr(record.provenance, name)) for name in ("versions", "hardware")}
        kept: dict[str, Any] = {
            name: self._once(getattr(record, name)) for name in ("battery", "dataset", "threat", "training")
        }
        kept |= {
            "curves": {},
            "history": [],
            "cost": record.cost.model_copy(update={"seconds_by_metric": {}, "passes_by_metric": {}}),
            "provenance": record.provenance.model_copy(update=about),
        }
        return replace(result, record=record.model_copy(update=kept))

    def _once(self, part: Any) -> Any:
        text = part.model_dump_json() if isinstance(part, Part) else compact_json(part)
        return self._parts.setdefault(f"{type(part).__name__} {text}", part)


def _read_ranked(path: Path, admitted: Admitted) -> Result:
    known = _read_again(path, admitted)
    if known is not None:
        return known
    result, arrays = as_written(path)
    for file in result.record.files.values():
        file_beside(result.path, file.path)
    problems = list(contradictions(result.record, arrays))
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UserError(f"{result.path}: {'; '.join(problems[:3])}{more}")
    return counted(result, arrays)


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
    source = f"{digest}{'+' if has_arrays(path, record) else '-'}"
    if source not in admitted or (source.endswith("+") and not _same_arrays(path, record)):
        return None
    arrays = {name: unpacked(bits) for name, bits in admitted[source].items()}
    return counted(make_result(path, without_folders(record, content), digest, arrays), arrays)


def _same_arrays(path: Path, record: Record) -> bool:
    file = record.files["arrays"]
    return sha256(file_beside(path, file.path)) == file.sha256


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
