"""Kills while pages are drawn: a whole site at every moment, and nothing left after the next build."""

import random
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.faults.bad_input import Inputs
from benchmarks.faults.command import Bench
from benchmarks.faults.trial import Fault, FaultClass, Trial


def _provoke(bench: Bench, folder: Path, tries: int, draw: random.Random) -> Iterator[Trial]:
    inputs = Inputs.make(bench, folder / "inputs")
    place = folder / "place"
    place.mkdir()
    words = ("leaderboard", "build", "--records", str(inputs.folder / "runs"), "--out", "site")
    started = time.monotonic()
    bench(*words, folder=place)
    duration = time.monotonic() - started
    for number in range(tries):
        after = duration * (number + draw.random()) / tries
        with _watched(place / "site") as missing:
            bench(*words, folder=place, wall_seconds=after)
            faults = list(_incomplete(place / "site"))
            again = bench(*words, folder=place)
        if missing:
            faults.append(Fault("lost", f"there was no site at {len(missing)} looks"))
        if again.code != 0:
            faults.append(Fault("traceback" if again.traceback else "refused", again.last_line))
        faults += _incomplete(place / "site")
        left = sorted(path.name for path in place.iterdir() if path.name != "site")
        if left:
            faults.append(Fault("leftover", ", ".join(left)))
        yield Trial(f"killed after {after:.2f} s of {duration:.2f} s", tuple(faults))


@contextmanager
def _watched(site: Path) -> Iterator[list[float]]:
    """Look for the front page without pause while the block runs, and note when it was not there."""
    missing: list[float] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            if not (site / "index.html").exists():
                missing.append(time.monotonic())
            stop.wait(0.0002)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield missing
    finally:
        stop.set()
        watcher.join()


def _incomplete(site: Path) -> Iterator[Fault]:
    """Pages that the front page and the boards lead to, and that are not there."""
    pages = [site / "index.html", *site.glob("boards/*.html")]
    for page in pages:
        if not page.is_file():
            yield Fault("lost", f"no {page.name}")
            continue
        for link in re.findall(r'href="([^"#:]+)"', page.read_text(encoding="utf-8")):
            if not (page.parent / link).exists():
                yield Fault("lost", f"{page.name} leads to {link}, which is not there")


SITES = FaultClass(name="sites", title="kills while pages are drawn", tries=38, sample=3, provoke=_provoke)
