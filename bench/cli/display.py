"""Show progress on standard error: bars on a terminal, plain lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from bench.core.progress import Progress, Task, readable
from bench.core.values import printable

#: Work that ends sooner than this shows nothing.
PATIENCE_SECONDS = 2.0
#: Plain lines come at most this often.
LINE_SECONDS = 15.0


def make_progress(quiet: bool) -> Progress:
    """Choose how to show progress: bars on a terminal, plain lines elsewhere, nothing when quiet."""
    if quiet:
        return Progress()
    return Bars() if sys.stderr.isatty() else Lines()


class Bars(Progress):
    """Show one bar for each running task, nested tasks below their parent."""

    def __init__(self) -> None:
        self._rich = RichProgress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(compact=True),
            TextColumn("[dim]{task.fields[note]}"),
            console=Console(stderr=True, highlight=False),
            transient=True,
        )
        self._depth = 0

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Show a bar while the block runs, once it has taken two seconds."""
        if self._depth == 0:
            self._rich.start()
        self._depth += 1
        bar = _Bar(self._rich, name, total)
        # By a clock of its own: the first step of a long attack may take a minute.
        appear = threading.Timer(PATIENCE_SECONDS, bar.show)
        appear.daemon = True
        appear.start()
        try:
            yield bar
        finally:
            appear.cancel()
            self._rich.remove_task(bar.number)
            self._depth -= 1
            if self._depth == 0:
                self._rich.stop()

    def say(self, line: str) -> None:
        """Print one line above the bars."""
        self._rich.console.print(printable(line), markup=False, soft_wrap=True)


class _Bar:
    def __init__(self, rich: RichProgress, name: str, total: float) -> None:
        self._rich = rich
        self.number = rich.add_task(name, total=total, note="", visible=False)

    def show(self) -> None:
        # The work may have ended in this very moment.
        with suppress(KeyError):
            self._rich.update(self.number, visible=True)

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._rich.update(self.number, advance=steps)
        if note:
            self._rich.update(self.number, note=note)


class Lines(Progress):
    """Print a line now and then, for logs."""

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Print how far the work has come, at most every fifteen seconds, and when it is done."""
        line = _Line(self, name, total)
        yield line
        line.finish()

    def say(self, line: str) -> None:
        """Print one line."""
        print(printable(line), file=sys.stderr, flush=True)


class _Line:
    def __init__(self, lines: Lines, name: str, total: float) -> None:
        self._lines, self._name, self._total = lines, name, total
        self._done, self._note = 0.0, ""
        self._started = self._last = time.monotonic()
        self._first = 0.0

    def advance(self, steps: float = 1, note: str = "") -> None:
        self._done += steps
        self._note = note or self._note
        now = time.monotonic()
        if self._first == 0.0:
            # Steps taken over from an earlier run come at once and say nothing about speed.
            self._first, self._started = self._done, now
        elif now - self._last >= LINE_SECONDS:
            self._last = now
            speed = (self._done - self._first) / max(now - self._started, 1e-9)
            left = f", about {readable(max(self._total - self._done, 0) / speed)} left" if speed > 0 else ""
            self._lines.say(f"{self._name}: {self._done:g}/{self._total:g}{left}{self._tail()}")

    def finish(self) -> None:
        took = time.monotonic() - self._started
        if took > PATIENCE_SECONDS:
            self._lines.say(f"{self._name}: done in {readable(took)}{self._tail()}")

    def _tail(self) -> str:
        return f" ({self._note})" if self._note else ""
