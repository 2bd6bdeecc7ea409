"""What the parts of a record may be: names, counts, times, and the range of a score by its unit."""

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

from bench.core import values
from bench.core.errors import UserError
from bench.core.names import is_accuracy
from bench.core.values import LARGEST, shown

#: Longest name, and longest other text of a record, in characters.
MOST_OF_NAME, MOST_OF_TEXT = 300, 8_000
#: Rounding that an end of a range or of an interval may be off by.
ROUNDING = 1e-6

#: No score is larger; the square of such a number is still finite.
LARGEST_SCORE = 1e100
ANY = (-LARGEST_SCORE, LARGEST_SCORE)
#: Unit → the least and the largest value. Any other unit may have any value.
RANGES = {
    "fraction": (0.0, 1.0),
    "AUC": (0.0, 1.0),
    "seconds": (0.0, LARGEST_SCORE),
    "ratio": (0.0, LARGEST_SCORE),
    "count": (0.0, LARGEST_SCORE),
    "cosine": (-1.0, 1.0),
    "correlation": (-1.0, 1.0),
    "silhouette": (-1.0, 1.0),
}
#: Ends of the names of scores whose range is not that of their unit: L/(ε‖J‖) has the sign of L, which is negative
#: for a wrong image.
SIGNED = ("/first_order_margin",)


def _name(text: str) -> str:
    return values.text(text, MOST_OF_NAME)


#: ε is 0, or lies between these. No two images of fewer than 10⁸ pixels in [0, 1] are further apart under ℓ2.
SMALLEST, LARGEST_RADIUS = Fraction(1, 10**20), 10_000
#: Characters of ε as text: on the command line, and in all.
MOST_WRITTEN, MOST_CHARACTERS = 60, 200

#: A fraction or a decimal number whose value is quick to compute.
_NUMBER = re.compile(r"[+-]?([0-9]+/[0-9]+|([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?)")

Name = Annotated[str, AfterValidator(_name)]
#: A name with the folder of its data set.
LongName = Annotated[str, AfterValidator(values.text)]
Count = Annotated[int, Field(ge=0, le=LARGEST)]
Seconds = Annotated[float, Field(ge=0)]


def exact_number(text: str) -> Fraction:
    """A number as people write ε, exactly.

    Raises:
        UserError: for another text than a fraction or a decimal number of at most `MOST_CHARACTERS`.
    """
    written = text.replace(" ", "") if isinstance(text, str) and len(text) <= MOST_CHARACTERS else ""
    try:
        if _NUMBER.fullmatch(written):
            return Fraction(written)
    except ZeroDivisionError:
        pass
    raise UserError(f"ε must be a number such as 8/255 or 0.03, got {shown(text)}")


def radius_of(norm: str, eps: str) -> Fraction:
    """The exact ε of a threat.

    Raises:
        UserError: when it is no number, negative, smaller than `SMALLEST` without being zero, or above 1 (ℓ∞) or
            `LARGEST_RADIUS` (ℓ2).
    """
    radius, largest = exact_number(eps), 1 if norm == "linf" else LARGEST_RADIUS
    if radius and not SMALLEST <= radius <= largest:
        hint = "for pixels in [0, 1]" if radius > largest or radius < 0 else "or at least 1e-20"
        raise UserError(f"ε must lie between 0 and {largest} {hint}, got {shown(eps)}; write 8/255 or 0.03")
    return radius


def moment(text: str) -> datetime:
    """An ISO 8601 time in UTC; one without zone is taken as UTC.

    Raises:
        ValueError: for another text, or a year before 1970.
    """
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        found = datetime.min.replace(tzinfo=UTC)
    if found.year < 1970:
        raise ValueError(f"must be ISO 8601 such as 2025-01-31T12:00:00Z, got {shown(text)}")
    return found


def range_of(name: str, unit: str) -> tuple[float, float]:
    """The least and the largest value of a score, by its name and unit."""
    if is_accuracy(name):
        return RANGES["fraction"]
    return ANY if name.endswith(SIGNED) else RANGES.get(unit, ANY)


def range_problems(
    name: str, unit: str, value: float | None, low: float | None, high: float | None
) -> Iterator[str]:
    """What is wrong with a score's value and interval, in words."""
    least, most = range_of(name, unit)
    what = "an accuracy" if is_accuracy(name) else f"a {unit}"
    for part, number in (("value", value), ("low", low), ("high", high)):
        if number is not None and not least - ROUNDING <= number <= most + ROUNDING:
            yield f"{name}: {part} must lie in [{least:g}, {most:g}] for {what}, got {number:g}"
    if value is not None and low is not None and value < low - ROUNDING * max(1, abs(value)):
        yield f"{name}: its interval starts above the value, {low:g} > {value:g}"
    if value is not None and high is not None and value > high + ROUNDING * max(1, abs(value)):
        yield f"{name}: its interval ends below the value, {high:g} < {value:g}"


def is_beside(path: str) -> bool:
    """Whether a path named in a record stays inside the record's folder."""
    parts = PurePosixPath(path.replace("\\", "/"))
    return bool(path) and not parts.is_absolute() and ".." not in parts.parts and ":" not in path


def file_beside(record: Path, name: str) -> Path:
    """Where a file of a record lies; it need not be there.

    Args:
        record: the record's JSON file.
        name: the file's path within the record's folder.

    Raises:
        UserError: when the path leads out of the folder, by its words or by a link, or to no regular file.
    """
    path = record.parent / name
    inside = is_beside(name) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(record.parent))
    if not inside:
        raise UserError(f"{record}: files must lie in the record's own folder, got {shown(name)}")
    try:
        os.lstat(path)
    except FileNotFoundError:
        return path
    except OSError as error:  # such as a name longer than any file's
        raise UserError(f"{record}: cannot look for {shown(name)}: {error.strerror}") from None
    if not path.is_file():
        raise UserError(f"{record}: {name} is no regular file")
    return path
