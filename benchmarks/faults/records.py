"""Hostile records beside a good one: commands that read records refuse them in one line or show them as text."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.command import Bench, Outcome
from benchmarks.faults.example_run import make_run
from benchmarks.faults.hostile import HOSTILE, SECRET, Hostile
from benchmarks.faults.trial import Fault, FaultClass, Trial

STORE = "sqlite:///store/mlflow.db"
#: Commands that read records, for a folder `records` with the folders `good` and `bad`.
COMMANDS: dict[str, tuple[str, ...]] = {
    "build": ("leaderboard", "build", "--records", "records", "--out", "site"),
    "table": ("leaderboard", "table", "--records", "records"),
    "check": ("leaderboard", "check", "records/bad"),
    "show": ("show", "records/bad"),
    "compare": ("compare", "records/bad", "records/good", "--unpaired"),
    "verify": ("verify", "records/bad", "--device", "cpu", "--quiet"),
    "figures": ("figures", "records/bad", "--no-measure", "--out", "drawn", "--quiet"),
    "track": ("track", "records/bad", "--tracking", STORE),
}


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    good = make_run(bench, folder)
    place = folder / "place"
    place.mkdir()
    (place / "records").mkdir()
    shutil.copytree(good, place / "records" / "good")
    alone = {name: bench(*COMMANDS[name], folder=place).output for name in ("build", "table")}
    pages = _pages(place / "site")
    pairs = [(hostile, name) for hostile in HOSTILE for name in COMMANDS]
    for hostile, name in draw.sample(pairs, min(tries, len(pairs))) if tries < len(pairs) else pairs:
        bad = place / "records" / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        hostile.write(bad)
        outcome = bench(*COMMANDS[name], folder=place)
        faults = [*read_safely(outcome), *_found(hostile, name, outcome, place)]
        left_out = "left out: records/bad/record.json" in outcome.text or "records/bad: " in outcome.text
        if name == "build" and left_out and _pages(place / "site") != pages:
            faults.append(Fault("lost", "pages of the good record changed"))
        if name == "table" and left_out and outcome.output != alone["table"]:
            faults.append(Fault("lost", "the table of the good record changed"))
        yield Trial(f"{hostile.name}, {name}", tuple(faults))


def read_safely(outcome: Outcome, *, codes: tuple[int, ...] = (0, 1, 2)) -> Iterator[Fault]:
    """What is wrong with how a command read what it was given, whether it took it or refused it."""
    if outcome.hung:
        yield Fault("hang", f"after {outcome.seconds:.0f} s")
    elif outcome.traceback:
        yield Fault("traceback", outcome.last_line)
    elif outcome.code not in codes:
        yield Fault("traceback", f"exit code {outcome.code}: {outcome.last_line}")
    if any(ord(character) < 32 and character not in "\n\t" for character in outcome.text):
        yield Fault("accepted", "control characters reach the terminal")


def _found(hostile: Hostile, name: str, outcome: Outcome, place: Path) -> Iterator[Fault]:
    if name in ("build", "table") and outcome.code != 0 and not outcome.hung:
        yield Fault("lost", f"nobody's board is drawn: {outcome.last_line}")
    if name == "check" and hostile.refused and outcome.code == 0:
        yield Fault("accepted", outcome.last_line)
    if name == "build" and hostile.refused and "left out" not in outcome.errors and outcome.code == 0:
        yield Fault("accepted", "it stands on the board")
    if name == "check" and not hostile.refused and outcome.code != 0 and hostile.name != "unranked":
        yield Fault("refused", outcome.last_line)
    published = [place / "store", place / "mlruns", place / "mlartifacts", place / "site", place / "drawn"]
    files = [path for root in published for path in root.rglob("*") if path.is_file()]
    if any(SECRET.encode() in path.read_bytes() for path in files if path.suffix != ".db"):
        yield Fault("secret", "a file outside the folder was copied")
        for root in published[1:]:
            shutil.rmtree(root, ignore_errors=True)


def _pages(site: Path) -> dict[str, bytes]:
    files = (path for path in site.rglob("*") if path.is_file() and path.name != "index.html")
    return {str(path.relative_to(site)): path.read_bytes() for path in files}


RECORDS = FaultClass(
    name="records",
    title="hostile records, by 8 commands",
    tries=len(HOSTILE) * len(COMMANDS),
    sample=8,
    provoke=_provoke,
)
