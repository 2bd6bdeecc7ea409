"""Read and write files.

A file is replaced as a whole: it is written beside its place and then renamed. What others wrote is read within
limits that hold before anything is made of it, so that no file can fill the memory or stop a program.
"""

import csv
import hashlib
import io
import json
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.secrets import hide
from bench.core.temporary import temporary_file, temporary_folder
from bench.core.values import LARGEST, shown

#: Limits of a JSON file. A record of 1,000 probed epochs has 20 MB, a chart of this project 8 levels.
MOST_BYTES = 64 * 2**20
MOST_LEVELS = 40
#: Limits of a text and of a number in it; a hundred times such a number is still finite.
MOST_CHARACTERS = 100_000
LARGEST_NUMBER = 1e300


def cache_folder() -> Path:
    """The folder of what can be made or fetched again, below the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "regionbench"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder; rename it to `path` when the block succeeds.

    Raises:
        UserError: when the folder cannot be written or the disk is full; no partly written file stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_file(path) as temporary:
            temporary.chmod(0o644)
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def creating(path: Path) -> Iterator[Path]:
    """Like `replacing`, for what a library creates itself and may put other files beside, as databases do.

    The yielded path has the same name, in a temporary folder; nothing is there yet.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path) as folder:
            yield folder / path.name
            os.replace(folder / path.name, path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def set_aside(path: Path, reason: str, say: Callable[[str], None]) -> None:
    """Rename what is damaged to `NAME.broken`, so that it can be made again, and say so.

    Args:
        path: a file, or whatever else stands in its place.
        reason: what is wrong with it, such as "is cut short".
        say: told one line.

    Raises:
        UserError: when it cannot be renamed.
    """
    broken, number = path.with_name(f"{path.name}.broken"), 1
    while os.path.lexists(broken):
        number += 1
        broken = path.with_name(f"{path.name}.broken{number}")
    try:
        path.rename(broken)
    except OSError as error:
        raise UserError(f"{path} {reason}, and cannot be renamed: {error.strerror or error}") from error
    say(f"{path} {reason}; set aside as {broken.name}")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text, completely or not at all, and without the secrets of this process."""
    with replacing(path) as temporary:
        temporary.write_text(hide(text, only_certain=True), encoding="utf-8")


def write_json(path: Path, value: Any, *, compact: bool = False) -> None:
    """Write JSON with keys in the given order, completely or not at all. NaN is refused.

    Args:
        compact: without line breaks, which is written ten times as fast.
    """
    text = (
        compact_json(value) if compact else json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1)
    )
    write_text(path, text + "\n")


def compact_json(value: Any) -> str:
    """JSON without spaces, with keys in the given order. NaN is refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


@contextmanager
def open_regular(path: Path) -> Iterator[BufferedReader]:
    """Open a regular file for reading; what is a pipe, a device or a folder is refused without waiting for it.

    Raises:
        UserError: when the file is missing, unreadable, or no regular file.
    """
    try:
        # Without O_NONBLOCK the opening of a pipe waits for its other end.
        stream = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}") from error
    with stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise UserError(f"cannot read {path}: it is no regular file")
        yield stream


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a regular file of at most so many bytes.

    Raises:
        UserError: as for `open_regular`, and when the file is larger or its disk fails.
    """
    with open_regular(path) as stream:
        try:
            content = stream.read(most + 1)
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if len(content) > most:
        raise UserError(f"cannot read {path}: it is larger than {most / 2**20:g} MiB")
    return content


def read_json(path: Path, *, longest: int = MOST_CHARACTERS) -> Any:
    """Read JSON.

    Args:
        longest: the most characters of any text in it.

    Raises:
        UserError: when the file is missing, no regular file, larger than `MOST_BYTES`, or as for `parse_json`.
    """
    return parse_json(path, read_bytes(path), longest=longest)


def parse_json(path: Path, content: bytes, *, longest: int = MOST_CHARACTERS) -> Any:
    """The value of JSON that was read from a file.

    Args:
        path: the file, for messages.
        longest: the most characters of any text in it.

    Raises:
        UserError: when it is no JSON: nested deeper than `MOST_LEVELS`, a key twice in one object, a number that is
            not finite or too large, a text too long or with half a surrogate pair.
    """
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant
        )
        _check(value, longest)
        return value
    except RecursionError:
        reason = f"nested more than {MOST_LEVELS} deep"
    except ValueError as error:
        reason = " ".join(str(error).split())
    raise UserError(f"{path} is not valid JSON ({reason}); it may be cut short or not a record") from None


def sha256(path: Path) -> str:
    """The SHA-256 of a regular file, as hex."""
    with open_regular(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header; a value that is missing, None or NaN leaves its cell empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        cells = map(row.get, columns)
        writer.writerow(["" if cell is None or cell != cell else cell for cell in cells])
    return stream.getvalue()


def spreadsheet_text(text: str) -> str:
    """Text for a CSV cell that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((twice, _),) = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {shown(twice)} stands twice in one object")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _check(value: Any, longest: int) -> None:
    """Refuse values that are nested too deep, too long or too large, wherever they stand."""
    level = [value]
    for _ in range(MOST_LEVELS + 1):
        below: list[Any] = []
        for part in level:
            if isinstance(part, str):
                _check_text(part, longest)
            elif isinstance(part, float):
                if not abs(part) <= LARGEST_NUMBER:
                    raise ValueError(f"expected numbers up to {LARGEST_NUMBER:g}, got {part:g}")
            elif isinstance(part, list):
                below += part
            elif isinstance(part, dict):
                below += [*part, *part.values()]
            elif isinstance(part, int) and not -LARGEST - 1 <= part <= LARGEST:
                raise ValueError(f"expected whole numbers up to {LARGEST}, got {shown(part)}")
        if not below:
            return
        level = below
    raise RecursionError


def _check_text(text: str, longest: int) -> None:
    if len(text) > longest:
        raise ValueError(f"expected texts of at most {longest:,} characters, got {len(text):,}")
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError(f"half a surrogate pair in {shown(text)}")
