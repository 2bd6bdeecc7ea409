"""Bad values and options: refused in one line with exit code 2, and nothing written."""

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.trial import Fault, FaultClass, Trial

#: Command lines that no command can accept.
LINES: list[tuple[str, ...]] = [
    ("run", "--defense", "standard", "--threat", ""),
    ("run", "--defense", "standard", "--threat", "l2:1e400"),
    ("run", "--defense", "standard", "--out", ""),
    ("verify", "--device", "x"),
    ("ui", "--port", "99999"),
]


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    for number, line in enumerate(draw.sample(LINES, min(tries, len(LINES)))):
        place = folder / str(number)
        place.mkdir()
        outcome = bench(*line, folder=place)
        yield Trial(" ".join(line) or "no arguments", tuple(refused_in_one_line(outcome, place)))


def refused_in_one_line(outcome: Outcome, place: Path) -> Iterator[Fault]:
    """What is wrong with how bad input was answered."""
    if outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    elif outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.code == 0:
        yield Fault("accepted", outcome.last_line)
    elif outcome.code != 2:
        yield Fault("accepted", f"exit code {outcome.code}: {outcome.last_line}")
    if left := sorted(str(path.relative_to(place)) for path in place.rglob("*")):
        yield Fault("leftover", ", ".join(left[:5]))


BAD_INPUT = FaultClass(name="input", title="bad values and options", tries=400, sample=8, provoke=_provoke)
