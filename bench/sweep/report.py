"""What people read about a sweep: the table of its cells, one line for all, and its estimated cost."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from bench.core.progress import readable
from bench.runs.run import epoch_seconds
from bench.sweep.cells import Board, Cell, Status

Statuses = Mapping[str, Status]


def statuses(cells: Iterable[Cell], board: Board) -> dict[str, Status]:
    """The state of each cell now, by its key."""
    return {cell.key: board.status(cell) for cell in cells}


def table(cells: Sequence[Cell], states: Statuses) -> str:
    """One line for each cell: its state, its name, and how far it is or why it failed."""
    wide = max(len(cell.title) for cell in cells)
    lines = [
        f"{states[cell.key].state:8} {cell.title:{wide}}  {states[cell.key].note}".rstrip() for cell in cells
    ]
    return "\n".join([*lines, one_line(states)])


def one_line(states: Statuses) -> str:
    """How many cells are in each state."""
    counts = Counter(status.state for status in states.values())
    parts = [f"{number} {state}" for state, number in counts.most_common()]
    return f"{len(states)} cells: {', '.join(parts)}"


def failures(cells: Iterable[Cell], states: Statuses) -> list[str]:
    """A line for each cell that failed, with its cause."""
    return [
        f"{cell.title}: {states[cell.key].note}"
        for cell in cells
        if states[cell.key].state in ("failed", "blocked")
    ]


def cost(cells: Sequence[Cell], states: Statuses, jobs: int) -> str:
    """Estimate the training that is left, from one measured epoch of each kind of training."""
    measured: dict[tuple[str, ...], float] = {}
    seconds = 0.0
    for cell in cells:
        if states[cell.key].state == "done":
            continue
        plan = cell.job.plan
        kind = (plan.name, plan.model, plan.dataset.fingerprint, repr(plan.recipe), repr(plan.fixed))
        if kind not in measured:
            measured[kind] = epoch_seconds(plan)
        trainings = cell.job.trials if cell.kind == "search" else 1
        seconds += trainings * plan.epochs * measured[kind]
    share = (
        f", {readable(seconds / jobs)} by {jobs} processes if they do not slow each other" if jobs > 1 else ""
    )
    return f"about {readable(seconds)} of training left{share}, without evaluations"
