"""Types of parameters, shared by all commands: each refuses what `bench.core.values` refuses, in one line."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from bench.core import values


class Written(click.ParamType):
    """What a reader of `bench.core.values` makes of the text on the command line."""

    def __init__(self, name: str, read: Callable[[Any], Any]) -> None:
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read a text, or a path that is a default; another default stays as it is."""
        if not isinstance(value, str | Path):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


WORD = Written("text", values.word)
TEXT = Written("text", values.text)
PATH = Written("path", values.path)
FOLDER = Written("path", values.folder)
FOLDER_TO_WRITE = Written("path", values.folder_to_write)
FOLDER_OR_URL = Written("path or URL", values.folder_or_url)
PATH_OR_URL = Written("path or URL", values.path_or_url)
NAMES = Written("names", values.names)
WHOLE = Written("integer", values.whole_number)
WHOLES = Written("integers", values.whole_numbers)
NUMBER = Written("float", values.number)
PORT = Written("integer", partial(values.whole_number, low=1, high=65_535))
PORT_OR_ANY = Written("integer", partial(values.whole_number, low=0, high=65_535))
HOST = Written("text", values.host)
ASSIGNMENT = Written("assignment", values.assignment)
PLACE = Written("text", values.place_of_code)
DEVICE = Written("text", values.device)
