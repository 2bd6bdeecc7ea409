"""Progress reporting: the interface that long work reports to."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Task(Protocol):
    """The progress of one task."""

    def advance(self, steps: float = 1, note: str = "") -> None:
        """Advance by `steps`; `note` is a short text behind the bar ("robust 41.0 %")."""


class Progress:
    """Silent progress: the base class, and the default for Python callers."""

    @contextmanager
    def task(self, name: str, total: float) -> Iterator[Task]:
        """Show a task of `total` steps while the block runs."""
        yield _Silent()

    def track(self, items: Iterable[Item], name: str, total: float) -> Iterator[Item]:
        """Yield the items, advancing by one step after each."""
        with self.task(name, total) as task:
            for item in items:
                yield item
                task.advance()

    def say(self, line: str) -> None:
        """Print one line, above the bars."""


class _Silent:
    def advance(self, steps: float = 1, note: str = "") -> None:
        pass


def readable(seconds: float) -> str:
    """Format seconds: "4 s", "2 min", "1 h 10 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes and hours < 10 else f"{hours} h"
