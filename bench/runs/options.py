"""What settings of a run can be: types that read what was written, and what the command line says of a setting."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from bench.core import values

Device = Annotated[str, BeforeValidator(values.device)]
BatteryName = Literal["quick", "standard", "full", "geometry", "indicators"]
Word = Annotated[str, BeforeValidator(values.word)]
Text = Annotated[str, BeforeValidator(values.text)]
Names = Annotated[tuple[str, ...], BeforeValidator(values.names)]
Flag = Annotated[bool, BeforeValidator(values.flag)]
Folder = Annotated[Path, BeforeValidator(values.folder)]
FileOrFolder = Annotated[Path, BeforeValidator(values.path)]
FolderToWrite = Annotated[Path, BeforeValidator(values.folder_to_write)]
Number = Annotated[float, BeforeValidator(values.number)]
Whole = Annotated[int, BeforeValidator(values.whole_number)]
Seeds = Annotated[
    tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), BeforeValidator(values.whole_numbers)
]
#: How many of something, up to what fits into the numbers of images that libraries count with.
Count = Annotated[Whole, Field(ge=1, le=2**31 - 1)]


@dataclass(frozen=True)
class Option:
    """What the command line says about a setting; type, default and bounds are those of its field.

    Attributes:
        group: "training" is for `bench run` alone; "data" and "result" are for `bench evaluate` as well.
        help: one or two sentences.
        metavar: stands for the value; "" where the type's name does.
        shown_default: what help gives as the default, where the field's own default does not say it.
        local: True for a setting of this machine, which no record shows and no command repeats.
        placeholder: what a repeated command shows instead of a local value.
        alias: another word for it on the command line.
    """

    group: Literal["training", "data", "result"]
    help: str
    metavar: str = ""
    shown_default: str = ""
    local: bool = False
    placeholder: str = ""
    alias: str = ""
