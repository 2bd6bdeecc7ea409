"""What one class of fault is, and what a trial of it found."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.faults.command import Bench

#: What can go wrong: a traceback; more than its time; a secret printed or written; a result lost or a file left
#: unusable; bad input accepted, or a false statement; a file left behind; good input refused; more
#: than one line said; work done twice; something left as if it went on.
Kind = Literal[
    "traceback", "hang", "secret", "lost", "accepted", "leftover", "refused", "wordy", "doubled", "running"
]


@dataclass(frozen=True)
class Fault:
    """One thing that went wrong in a trial, with a line that says what was seen."""

    kind: Kind
    seen: str


@dataclass(frozen=True)
class Trial:
    """One attempt to provoke a fault; `faults` is empty where all went well."""

    what: str
    faults: tuple[Fault, ...] = ()


@dataclass(frozen=True)
class FaultClass:
    """A class of fault.

    `provoke(bench, folder, tries, draw)` yields `tries` trials or fewer; it works in the empty `folder`, runs
    commands through `bench`, and draws whatever is random from `draw`. `sample` is the part run by a test.
    """

    name: str
    title: str
    tries: int
    sample: int
    provoke: Callable[[Bench, Path, int, random.Random], Iterator[Trial]]
