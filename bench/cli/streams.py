"""Standard output and standard error: no secret passes them."""

import json
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from io import TextIOWrapper
from types import TracebackType
from typing import Any

import click

from bench.core.secrets import hide
from bench.core.values import printable


class _Filtered:
    """A text stream that hides secrets; all else is that of the stream behind it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        self._stream.write(hide(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    @property
    def buffer(self) -> "_FilteredBytes":
        """The bytes behind the text, into which click writes where the encoding is ASCII."""
        return _FilteredBytes(self._stream.buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _FilteredBytes:
    """A stream of bytes that hides secrets in UTF-8."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, content: bytes) -> int:
        text = bytes(content).decode("utf-8", "surrogateescape")
        self._stream.write(hide(text).encode("utf-8", "surrogateescape"))
        return len(content)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


#: Where results go while `results_alone` keeps all else away from standard output.
_output: list[Any] = []


@contextmanager
def results_alone() -> Iterator[None]:
    """Keep standard output for results while the block runs: what plug-ins and libraries print goes elsewhere."""
    _output.append(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _output.pop()


def results() -> Any:
    """Standard output as it was before `results_alone`."""
    return _output[-1] if _output else sys.stdout


def print_result(text: object, *, nl: bool = True) -> None:
    """Print lines of a command's result on standard output, control characters as their escapes."""
    lines = str(text).split("\n")
    click.echo("\n".join(map(printable, lines)), file=results(), nl=nl)


def print_line(text: object) -> None:
    """Print one line of a result, whatever the texts of records in it hold."""
    print_result(printable(text))


def print_note(text: object) -> None:
    """Print one line on standard error, control characters as their escapes."""
    click.echo(printable(text), err=True)


def print_json(value: Any) -> None:
    """Print a result as JSON, in ASCII, so that it is the same in every encoding of standard output."""
    print_result(json.dumps(value, indent=1))


def prepare_streams() -> None:
    """Let both streams replace what their encoding lacks, such as ℓ∞ in ASCII, instead of failing.

    One that is closed (`>&-`) is None in Python, and takes everything silently from here on.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def without_secrets() -> Iterator[None]:
    """Filter both streams while the block runs, and the traceback of an exception that leaves it.

    Everything passes here: messages, progress, warnings, and what libraries log.
    """
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _Filtered(sys.stdout), _Filtered(sys.stderr)
    sys.excepthook = _show
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))
