"""The rows of the table: the same work done by us and by a peer, in turn."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table

#: From this share on, by which our own time changes from one call to the next, a ratio says nothing.
BUSY = 0.1


@dataclass(frozen=True)
class Row:
    """One piece of work.

    Attributes:
        work, peer: what was done, and by what beside us.
        checked: in which way both gave the same.
        seconds, wall: ours, CPU seconds and seconds of the clock, medians over rounds.
        peer_seconds, peer_wall: the peer's.
        ratios: the peer's CPU seconds over the mean of ours before and after, of each round.
        itself: our CPU seconds after the peer over those before it, of each round; 1 on a quiet machine.
        floor: CPU seconds below which this processor could not do our work; None where that was not counted.
    """

    work: str
    peer: str
    checked: str
    seconds: float
    wall: float
    peer_seconds: float
    peer_wall: float
    ratios: list[float]
    itself: list[float]
    floor: float | None = None

    @property
    def ratio(self) -> float:
        """How many times as fast as the peer we are; the median over rounds."""
        return statistics.median(self.ratios)

    @property
    def busy(self) -> bool:
        """Whether the machine was too busy for this ratio."""
        return abs(statistics.median(self.itself) - 1) >= BUSY


def in_turn(
    work: str,
    peer: str,
    checked: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    rounds: int,
    *,
    floor: float | None = None,
    warm: bool = False,
) -> Row:
    """Time both: in each round ours, the peer, and ours again.

    Args:
        work, peer, checked, floor: as in `Row`.
        warm: both have run before; else each runs once untimed.
    """
    if not warm:
        ours(), theirs()
    rows = [(timed(ours), timed(theirs), timed(ours)) for _ in range(rounds)]
    median = statistics.median
    return Row(
        work=work,
        peer=peer,
        checked=checked,
        seconds=median(each[0] for before, _, after in rows for each in (before, after)),
        wall=median(each[1] for before, _, after in rows for each in (before, after)),
        peer_seconds=median(between[0] for _, between, _ in rows),
        peer_wall=median(between[1] for _, between, _ in rows),
        ratios=[2 * between[0] / (before[0] + after[0]) for before, between, after in rows],
        itself=[after[0] / before[0] for before, _, after in rows],
        floor=floor,
    )


def timed(call: Callable[[], Any]) -> tuple[float, float]:
    """CPU seconds of the process and seconds of the clock; on an idle core and one thread they are the same."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def table(rows: Sequence[Row]) -> Table:
    """The table of all rows."""
    busy = "; busy: the machine did other work, repeat the row" if any(row.busy for row in rows) else ""
    result = Table(
        title=f"one thread, torch {torch.__version__}",
        caption=f"times as fast: CPU seconds of the peer over ours, median (least to most) of the rounds{busy}",
    )
    for heading in (
        "work",
        "peer",
        "ours, s",
        "peer, s",
        "on the clock",
        "times as fast",
        "of the floor",
        "checked",
    ):
        result.add_column(heading, justify="left" if heading in ("work", "peer", "checked") else "right")
    for row in rows:
        spread = f" ({min(row.ratios):.2f} to {max(row.ratios):.2f})" if len(row.ratios) > 1 else ""
        result.add_row(
            row.work,
            row.peer,
            f"{row.seconds:.3g}",
            f"{row.peer_seconds:.3g}",
            f"{row.wall:.3g}, {row.peer_wall:.3g}",
            f"{row.ratio:.2f}{spread}{', busy' if row.busy else ''}",
            f"{row.floor / row.seconds:.0%}" if row.floor else "",
            row.checked,
        )
    return result
