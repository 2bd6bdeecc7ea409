"""What building, opening and sorting take."""

import resource
import time
from pathlib import Path


def build_site(records: Path, site: Path) -> None:
    """Build a site from nothing and again on top of that, and print what each took."""
    from bench.core.record import find_records
    from leaderboards.build import build

    for what in ("from nothing", "again"):
        wall, started = time.perf_counter(), _cpu_seconds()
        built = build(find_records(records), site)
        cpu, wall = _cpu_seconds() - started, time.perf_counter() - wall
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{built.entries} entries {what}: {cpu:.1f} s of CPU, {wall:.1f} s, {peak:.0f} MB at most")


def _cpu_seconds() -> float:
    """Seconds of this process and of those that it has started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def open_board(page: Path) -> None:
    """Open a board in Chromium and sort it; print the seconds until all rows are laid out."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        started = time.perf_counter()
        tab.goto(page.as_uri())
        tab.wait_for_selector("#board.ready")
        ready = time.perf_counter() - started
        tab.wait_for_function("!document.querySelector('#board tr.later')")
        print(f"loaded after {ready:.1f} s, all rows after {time.perf_counter() - started:.1f} s")
        started = time.perf_counter()
        tab.click("#board th[data-key='clean_accuracy'] button")
        tab.wait_for_function(
            "document.querySelector('th[data-key=clean_accuracy]').hasAttribute('aria-sort')"
        )
        sorted_after = time.perf_counter() - started
        tab.wait_for_function("!document.querySelector('#board tr.later')")
        print(f"sorted after {sorted_after:.1f} s, all rows after {time.perf_counter() - started:.1f} s")
        browser.close()
