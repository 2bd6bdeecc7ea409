"""SIGTERM and SIGHUP end a command as Ctrl-C does: what is finished is kept, and the exit code names the signal."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: A closed terminal sends SIGHUP (not on Windows); batch systems and containers send SIGTERM.
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Stopped(KeyboardInterrupt):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextmanager
def stopping() -> Iterator[None]:
    """Raise `Stopped` where the block is when one of the signals comes; one that is ignored (`nohup`) stays so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


def exit_code(stop: BaseException) -> int:
    """The exit code that shells give a process ended by the signal behind an exception; 130 for Ctrl-C."""
    error: BaseException | None = stop
    seen: list[BaseException] = []  # an exception may be its own cause
    while error is not None and error not in seen:
        if isinstance(error, Stopped):
            return 128 + error.number
        seen.append(error)
        error = error.__cause__ or error.__context__
    return 128 + signal.SIGINT


def _raise(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)
