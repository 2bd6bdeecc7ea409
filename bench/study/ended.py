"""What became of the trainings of a study."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.sweep.cells import Board, Cell


@dataclass(frozen=True)
class EndedTraining:
    """A training of a study that has ended.

    Attributes:
        label: of the training, within the study.
        path: of its record.
        failure: why there is no record; "" where there is one.
    """

    label: str
    path: Path
    failure: str = ""


def look_up(labels: Sequence[str], cells: Sequence[Cell], board: Board) -> list[EndedTraining]:
    """What became of each training.

    Args:
        labels: of the trainings.
        cells: of the trainings, in the same order.
        board: the cells' states.
    """
    found = []
    for label, cell in zip(labels, cells, strict=True):
        status = board.status(cell)
        failure = "" if status.state == "done" else status.note or f"not done ({status.state})"
        found.append(EndedTraining(label, cell.result, failure))
    return found
