"""A call that several processes make at once, each with the same arguments, and whose parts they divide.

Where such a call comes to parts that do not depend on each other, `each` does those of this process, and gives what
all processes found. A part is the same whoever does it, so the call gives in every process what one process gives.
Outside of `divided`, one process does all parts.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import nn

from bench.core.errors import NotFinite, UserError
from bench.core.passes import counting, credit

Part = TypeVar("Part")


@dataclass(frozen=True)
class Crew:
    """The processes that make a call at once.

    Attributes:
        rank, count: which of how many this process is.
        gather: from a value of each process to those of all, in their order.
    """

    rank: int
    count: int
    gather: Callable[[Any], list[Any]]


_crew: Crew | None = None


@contextmanager
def divided(crew: Crew) -> Iterator[None]:
    """Divide the parts of the block's call among the processes of a crew."""
    global _crew
    before, _crew = _crew, crew
    try:
        yield
    finally:
        _crew = before


def processes() -> int:
    """How many processes divide the present call; 1 outside of one."""
    return _crew.count if _crew else 1


def first_of(value: Any) -> Any:
    """The value that the first process gives, in all of them."""
    return _crew.gather(None if _crew.rank else value)[0] if _crew else value


def each(parts: Sequence[Part], work: Callable[[Part], Any], network: nn.Module) -> list[Any]:
    """What the work gives for each part, in their order.

    Args:
        parts: equal in all processes.
        work: gives tensors, plain values, and lists and dicts of them.
        network: whose passes the work takes; those of other processes are counted here as well.

    Raises:
        UserError: in all processes, where the work raises one in any.
    """
    if _crew is None:
        return [work(part) for part in parts]
    own, failure = [], None
    with counting(network) as passes:
        try:
            own = [work(part) for part in parts[_crew.rank :: _crew.count]]
        except UserError as error:
            failure = error
    said = None if failure is None else [isinstance(failure, NotFinite), str(failure)]
    gathered = _crew.gather([own, [passes.forwards, passes.backwards], said])
    for rank, (_, counts, message) in enumerate(gathered):
        if rank != _crew.rank:
            credit(network, *counts)
        if message is not None and failure is None:
            failure = NotFinite(message[1]) if message[0] else UserError(message[1])
    if failure is not None:
        raise failure
    return [gathered[number % _crew.count][0][number // _crew.count] for number in range(len(parts))]
