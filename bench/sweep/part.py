"""The part of a sweep that one task of a job array does."""

import os
from collections.abc import Mapping, Sequence

from bench.core.errors import UserError
from bench.core.values import whole_number
from bench.sweep.cells import Cell

#: Variables of a task's number, of the first number, and of how many there are ("" where the system has none), and
#: the usual first number. LSF gives the number 0 to jobs that are no array.
_ARRAYS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_COUNT", 0),
    ("PBS_ARRAY_INDEX", "", "", 0),
    ("LSB_JOBINDEX", "", "LSB_JOBINDEX_END", 1),
)


def find_part(
    index: int | None, count: int | None, variables: Mapping[str, str] = os.environ
) -> tuple[int, int]:
    """The number of this part, from 0, and how many parts there are.

    Args:
        index: as given; None takes the number of the array's task.
        count: as given; None takes the array's.
        variables: of the environment.

    Raises:
        UserError: for one without the other, or an index beyond the count.
    """
    if index is None:
        for task, first, tasks, start in _ARRAYS:
            number = _number(variables, task, -1)
            if number >= start:
                index = number - _number(variables, first, start)
                count = count or _number(variables, tasks, 0) or None
                break
    if index is None and count is None:
        return 0, 1
    if index is None or count is None:
        missing = "--index" if index is None else "--count"
        raise UserError(
            f"{missing} is missing: a part needs its number, from 0, and how many parts there are"
        )
    if not 0 <= index < count:
        raise UserError(f"--index {index} is beyond --count {count}; the numbers of parts start at 0")
    return index, count


def part_of(cells: Sequence[Cell], index: int, count: int) -> set[str]:
    """Keys of the cells of one part; every count-th training, and no search, which any part may do."""
    seeds = [cell.key for cell in cells if cell.kind == "seed"]
    return set(seeds[index::count])


def _number(variables: Mapping[str, str], name: str, missing: int) -> int:
    text = variables.get(name, "") if name else ""
    if not text:
        return missing
    try:
        return whole_number(text)
    except ValueError as error:
        raise UserError(f"{name}: {error}") from None
