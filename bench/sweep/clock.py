"""How a worker tells the time and waits; a simulation gives its own."""

import _thread
import threading
import time
from collections.abc import Callable


class Clock:
    """The time of this machine, which never goes back, and what happens at times."""

    def now(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Do nothing for so long."""
        time.sleep(seconds)

    def every(self, seconds: float, do: Callable[[], bool]) -> Callable[[], None]:
        """Do something every so many seconds, until it gives False; the function that is returned ends it."""
        ended = threading.Event()

        def repeat() -> None:
            while not ended.wait(seconds) and do():
                pass

        thread = threading.Thread(target=repeat, name="lease", daemon=True)
        thread.start()

        def end() -> None:
            ended.set()
            thread.join()

        return end

    def interrupt(self) -> None:
        """End what the main thread does, as Ctrl-C would."""
        _thread.interrupt_main()
