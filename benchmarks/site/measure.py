"""What building, opening and sorting take."""

import os
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

#: Seconds between two looks at the memory of a build.
_LOOK = 0.2


def build_site(records: Path, site: Path) -> None:
    """Build a site from nothing, again, and after a change of one record, and print what each took."""
    from bench.core.record import find_records
    from leaderboards.build import build

    paths = find_records(records)
    for what in ("from nothing", "again", "one record changed"):
        if what == "one record changed":
            changed = paths[0].read_text()
            paths[0].write_text(changed.replace('"seed": 0', '"seed": 1', 1))
        wall, own, all_of_them = time.perf_counter(), cpu_seconds(children=False), cpu_seconds()
        built = build(find_records(records), site)
        wall, all_of_them = time.perf_counter() - wall, cpu_seconds() - all_of_them
        own = cpu_seconds(children=False) - own
        print(
            f"{built.entries} entries {what}: {all_of_them:.1f} s of CPU, {own:.1f} of them in the first process, "
            f"{wall:.1f} s"
        )
    paths[0].write_text(changed)


def cpu_seconds(*, children: bool = True) -> float:
    """Seconds of this process, and of those that it has started and that have ended."""
    whose = [resource.RUSAGE_SELF, *([resource.RUSAGE_CHILDREN] if children else [])]
    return sum(each.ru_utime + each.ru_stime for each in map(resource.getrusage, whose))


def most_memory(process: BaseProcess) -> float:
    """Wait for a process to end; gives the most memory in MB that it and its children had together."""
    most = 0.0
    while process.is_alive():
        most = max(most, memory(process))
        process.join(_LOOK)
    return most


def memory(process: BaseProcess) -> float:
    """Memory in MB of a process and its children; a page that they share is counted once (`Pss` of Linux)."""
    return sum(map(_share, _with_children(process.pid or 0)))


def _share(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from _with_children(int(child))
    except OSError:  # it has ended
        return


def open_board(page: Path) -> None:
    """Open a board in Chromium and sort it; print what it takes until the next picture is on the screen.

    All rows are in the page then; the browser lays out those near the screen.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        # The pages forbid what Playwright waits by.
        tab = browser.new_page(viewport={"width": 1280, "height": 900}, bypass_csp=True)
        watch = tab.context.new_cdp_session(tab)
        watch.send("Performance.enable", {"timeDomain": "threadTicks"})

        def told(what: str, act: Callable[[], Any]) -> None:
            wall, cpu = time.perf_counter(), _page_seconds(watch)
            act()
            tab.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
            wall, cpu = time.perf_counter() - wall, _page_seconds(watch) - cpu
            print(f"{what}: {cpu:.2f} s of CPU in the page's thread, {wall:.1f} s")

        def load() -> None:
            tab.goto(page.as_uri())
            tab.wait_for_selector("#board.ready")

        told("opened", load)
        for key in ("clean_accuracy", "defense"):
            told(f"sorted by {key}", partial(tab.click, f"#board th[data-key='{key}'] button"))
        elements = tab.evaluate("document.querySelectorAll('*').length")
        print(f"{elements:,} elements")
        browser.close()


def _page_seconds(watch: Any) -> float:
    found = {each["name"]: each["value"] for each in watch.send("Performance.getMetrics")["metrics"]}
    return float(found["TaskDuration"])
