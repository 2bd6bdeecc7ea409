"""Damaged files of a real run folder: bytes flipped, ends cut, parts overwritten, files exchanged."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.command import Bench
from benchmarks.faults.example_run import make_run
from benchmarks.faults.records import COMMANDS, read_safely
from benchmarks.faults.trial import Fault, FaultClass, Trial

#: Ways of damage, by name.
WAYS = ("bit", "byte", "zeros", "noise", "cut", "longer", "exchanged", "empty")
#: Files that the record names with a hash: `check` must see any change of them.
HASHED = ("weights.safetensors", "arrays.npz", "examples.npz")


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    good = make_run(bench, folder)
    files = sorted(str(path.relative_to(good)) for path in good.rglob("*") if path.is_file())
    main = [name for name in files if "/" not in name]
    place = folder / "place"
    (place / "records").mkdir(parents=True)
    shutil.copytree(good, place / "records" / "good")
    for number in range(tries):
        bad = place / "records" / "bad"
        shutil.rmtree(bad, ignore_errors=True)
        shutil.copytree(good, bad)
        name = draw.choice(files) if number % 4 == 0 else main[number % len(main)]
        way = WAYS[number // len(main) % len(WAYS)]
        same = _damage(bad / name, way, good / draw.choice(main), draw)
        command = list(COMMANDS)[number % len(COMMANDS)]
        outcomes = {each: bench(*COMMANDS[each], folder=place) for each in dict.fromkeys(("check", command))}
        faults = [fault for outcome in outcomes.values() for fault in read_safely(outcome)]
        if name in HASHED and not same and outcomes["check"].code == 0:
            faults.append(Fault("accepted", f"check: {outcomes['check'].last_line}"))
        if command in ("build", "table") and outcomes[command].code != 0:
            faults.append(Fault("lost", f"nobody's board is drawn: {outcomes[command].last_line}"))
        yield Trial(f"{name}, {way}, {command}", tuple(faults))


def _damage(path: Path, way: str, other: Path, draw: random.Random) -> bool:
    """Damage a file; gives whether its content is the same by chance."""
    before = path.read_bytes()
    content = bytearray(before)
    at = draw.randrange(len(content))
    if way == "bit":
        content[at] ^= 1 << draw.randrange(8)
    elif way == "byte":
        content[at] = draw.randrange(256)
    elif way in ("zeros", "noise"):
        length = min(64, len(content) - at)
        content[at : at + length] = bytes(length) if way == "zeros" else draw.randbytes(length)
    elif way == "cut":
        del content[at:]
    elif way == "longer":
        content += draw.randbytes(100)
    else:
        content = bytearray(other.read_bytes() if way == "exchanged" else b"")
    path.write_bytes(content)
    return bytes(content) == before


DAMAGED = FaultClass(
    name="damaged",
    title="damaged files of a run",
    tries=244,
    sample=5,
    provoke=_provoke,
)
