"""Values as people write them, for the command line and for files: one reader of each kind, used by both.

A reader takes what was written and returns the value. It raises ValueError with what was expected and what came;
click and pydantic make of it a message that names the option or the key.
"""

import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

#: Longest word, such as a name, and longest text, such as a list of metrics or a path, in characters.
WORD_LENGTH = 200
TEXT_LENGTH = 4_000
#: Folders of a path; `pathlib` makes them by recursion.
MOST_FOLDERS = 200
#: Largest whole number that every file format and library here can hold.
LARGEST = 2**63 - 1
#: Where networks can run; "cuda:1" is the second CUDA device.
DEVICES = ("auto", "cpu", "cuda", "cuda:N")
#: In which precision networks are trained.
Precision = Literal["auto", "fp32", "bf16", "bf16-compiled"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
#: What a search looks for: robust accuracy; clean against robust accuracy; or these and cost.
SearchObjective = Literal["robust", "screened", "pareto", "pareto-cost"]

#: Unicode's categories of control, format and surrogate characters, and of separators of lines and paragraphs.
_CONTROL = ("Cc", "Cf", "Cs", "Zl", "Zp")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_HOST = re.compile(r"[0-9A-Za-z:][0-9A-Za-z.:_-]{0,252}")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_DEVICE = re.compile(r"auto|cpu|cuda(:(0|[1-9][0-9]?))?")
_FLAGS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def shown(value: object, most: int = 80) -> str:
    """A value as a message shows it: escaped, and cut where it is long."""
    if isinstance(value, int) and abs(value) > 10**30:  # Python makes no text of very long ones
        return "a number of more than 30 digits"
    text = repr(value[: most + 2] if isinstance(value, str) else value)
    return text if len(text) <= most + 2 else f"{text[:most]}…"


def printable(written: object) -> str:
    """A text as terminals and pages show it: in one line, control characters as their escapes."""
    return "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _CONTROL
        else character
        for character in str(written)
    )


def has_control_characters(written: str) -> bool:
    """Whether a text has characters that move a cursor, change direction or line, or are no characters at all."""
    # Text that is printable has none of them; looking at each character takes a hundred times as long.
    return not written.isprintable() and any(unicodedata.category(c) in _CONTROL for c in written)


def text(value: Any, most: int = TEXT_LENGTH) -> str:
    """Printable text that is not blank, of `most` characters or fewer."""
    if not isinstance(value, str):
        raise ValueError(f"expected text, got {shown(value)}")
    if not value.strip():
        raise ValueError(f"expected some text, got {value!r}" if len(value) < most else "expected some text")
    if len(value) > most:
        raise ValueError(f"expected at most {most:,} characters, got {len(value):,}")
    if has_control_characters(value):
        raise ValueError(f"expected printable characters alone, got {shown(value)}")
    return value


def word(value: Any) -> str:
    """Printable text of at most `WORD_LENGTH` characters."""
    return text(value, WORD_LENGTH)


def is_url(written: object) -> bool:
    """Whether a text begins as a URL does."""
    return isinstance(written, str) and _URL.match(written) is not None


def path(value: Any) -> Path:
    """A path that can be printed and that a file system can hold."""
    if is_url(value):
        scheme = value.partition("://")[0]
        raise ValueError(
            f"expected a path, got a URL ({scheme}://…): runs and sites need locks and renames, which object "
            "stores lack; `bench upload` copies finished records there, and boards are built from them"
        )
    place = Path(text(str(value) if isinstance(value, Path) else value))
    if len(place.parts) > MOST_FOLDERS:
        raise ValueError(f"expected at most {MOST_FOLDERS} folders within each other, got {len(place.parts)}")
    return place


def folder(value: Any) -> Path:
    """A path of a folder, which need not exist."""
    place = path(value)
    for above in (place, *place.absolute().parents):
        if above.exists():
            if not above.is_dir():
                raise ValueError(f"expected a folder, got the file {above}")
            break
    return place


def folder_or_url(value: Any) -> Path | str:
    """A path of a folder, or the URL of one on an object store."""
    return text(value) if is_url(value) else folder(value)


def path_or_url(value: Any) -> Path | str:
    """A path, or the URL of a file or a folder on an object store."""
    return text(value) if is_url(value) else path(value)


def folder_to_write(value: Any) -> Path:
    """A path of a folder in which files can be made, or which can be made itself."""
    place = path(value)
    if reason := "it is a file" if place.exists() and not place.is_dir() else unwritable(place):
        raise ValueError(f"cannot write below {place}: {reason}; choose another --out")
    return place


def unwritable(place: Path) -> str:
    """Why no file can be made in a folder, or in the nearest one above that exists; "" where it can."""
    try:
        existing = next(above for above in (place, *place.absolute().parents) if above.exists())
        # The superuser may do anything, except where the file system itself refuses: only a try tells.
        with tempfile.TemporaryFile(dir=existing):  # without a name, so that a kill leaves nothing
            return ""
    except OSError as error:
        return error.strerror or str(error)


def names(value: Any) -> tuple[str, ...]:
    """Names joined by commas, none of them blank or written twice; a list of them, or None, counts too."""
    parts = split_names(text(value)) if isinstance(value, str) else () if value is None else value
    if not isinstance(parts, list | tuple):
        raise ValueError(f"expected names joined by commas, got {shown(value)}")
    return distinct([text(part) for part in parts])


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names, none of them twice."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{shown(twice[0])} is named twice")
    return tuple(names)


def split_names(joined: str) -> list[str]:
    """Split text at commas, except within brackets, which hold the arguments of a metric."""
    parts, depth = [""], 0
    for letter in joined:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def whole_number(value: Any, low: int = -LARGEST, high: int = LARGEST) -> int:
    """A whole number from `low` to `high`, written with the digits 0 to 9; true and false are none."""
    if isinstance(value, str) and _WHOLE.fullmatch(value):
        value = int(value) if len(value) <= 40 else 10**40
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not a valid integer: {shown(value)}; expected digits from 0 to 9")
    if value > high:
        raise ValueError(f"expected at most {high}, got {shown(value)}")
    if value < low:
        raise ValueError(f"expected at least {low}, got {shown(value)}")
    return value


def number(value: Any) -> float:
    """A finite number, written with the digits 0 to 9; true and false are none."""
    if isinstance(value, str) and _NUMBER.fullmatch(value) and len(value) <= 400:
        value = float(value)
    finite = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
    if not finite:
        raise ValueError(f"not a valid number: {shown(value)}; expected one such as 0.5")
    return float(value)


def whole_numbers(value: Any) -> tuple[int, ...]:
    """Whole numbers joined by commas, none written twice; a list of them counts too, and a single one."""
    parts = value.split(",") if isinstance(value, str) else value
    parts = [parts] if isinstance(parts, int) else parts
    if not isinstance(parts, list | tuple):
        raise ValueError(f"expected whole numbers such as 0,1,2, got {shown(value)}")
    try:
        return tuple(whole_number(part.strip() if isinstance(part, str) else part) for part in parts)
    except ValueError as error:
        raise ValueError(f"expected whole numbers such as 0,1,2: {error}") from None


def flag(value: Any) -> bool:
    """True or false, also written yes, on, no or off."""
    found = (
        value if isinstance(value, bool) else _FLAGS.get(value.lower()) if isinstance(value, str) else None
    )
    if found is None:
        raise ValueError(f"expected true or false, got {shown(value)}")
    return found


def assignment(value: Any) -> tuple[str, str]:
    """Both sides of NAME=VALUE, neither of them blank."""
    name, equals, right = (part.strip() for part in text(value).partition("="))
    if not (name and equals and right):
        raise ValueError(f"{shown(value)} must have the form name=value")
    return name, right


def one_of(known: Sequence[str], value: Any) -> str:
    """One of the known words."""
    if value not in known:
        raise ValueError(f"expected one of {', '.join(known)}, got {shown(value)}")
    return str(value)


def device(value: Any) -> str:
    """A place where networks run: one of `DEVICES`."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise ValueError(f"expected one of {', '.join(DEVICES)}, got {shown(value)}")
    return value


def host(value: Any) -> str:
    """The name or the address of a machine."""
    if not _HOST.fullmatch(text(value)):
        raise ValueError(f"expected a host such as 127.0.0.1 or localhost, got {shown(value)}")
    return str(value)


def place_of_code(value: Any) -> str:
    """A place in Python code: module:function."""
    module, _, name = text(value).partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError(f"expected module:function, got {shown(value)}")
    return str(value)


def is_link(text: Any) -> bool:
    """Whether a value is an address that pages may link to: http or https, without spaces, at most 500 letters."""
    return (
        isinstance(text, str) and len(text) <= 500 and re.fullmatch(r"https?://[^\s<>\"']+", text) is not None
    )
