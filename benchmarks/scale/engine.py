"""Time that is counted and not waited for: one machine runs at a time, and the clock jumps to what comes next."""

import heapq
import itertools
from collections.abc import Callable

from greenlet import getcurrent, greenlet

from bench.sweep.clock import Clock


class Engine:
    """The events to come, by their time.

    Attributes:
        now: seconds since the beginning.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, when: float, do: Callable[[], None]) -> None:
        """Do something at a time; what comes at one time is done in the order of the calls."""
        heapq.heappush(self._events, (when, next(self._numbers), do))

    def run(self, over: Callable[[], bool]) -> None:
        """Let time pass until something is over, or nothing is left to come."""
        while self._events and not over():
            self.now, _, do = heapq.heappop(self._events)
            do()


class Machine(Clock):
    """A machine and its clock: it runs while all others stand still.

    Args:
        engine: gives the time.
        work: what it does.

    Attributes:
        alive: False from the moment when it dies: it then does nothing more, not even release what it holds.
        over: whether its work has ended.
        on_death: called when it dies.
    """

    def __init__(self, engine: Engine, work: Callable[["Machine"], None]) -> None:
        self.alive, self.over = True, False
        self.on_death: Callable[[], None] = lambda: None
        self._engine, self._work = engine, work
        self._run = greenlet(self._begin, getcurrent())
        engine.at(engine.now, self._resume)

    def _begin(self) -> None:
        self._work(self)
        self.over = True

    def _resume(self) -> None:
        if self.alive:
            self._run.switch()

    def die(self) -> None:
        """Stop in the middle of whatever it does."""
        self.alive = False
        self.on_death()

    def now(self) -> float:
        """Seconds since the beginning."""
        return self._engine.now

    def sleep(self, seconds: float) -> None:
        """Let others run for so long."""
        self._engine.at(self._engine.now + seconds, self._resume)
        self._run.parent.switch()

    def every(self, seconds: float, do: Callable[[], bool]) -> Callable[[], None]:
        """Do something every so many seconds while the machine lives."""
        going = True

        def beat() -> None:
            if going and self.alive and do():
                self._engine.at(self._engine.now + seconds, beat)

        def end() -> None:
            nonlocal going
            going = False

        self._engine.at(self._engine.now + seconds, beat)
        return end

    def interrupt(self) -> None:
        """A machine that lives loses no lease here, since none stands still."""
        raise AssertionError("a machine that lives has lost a lease")
