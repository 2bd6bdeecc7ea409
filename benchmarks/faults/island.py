"""A network of its own for a server, joined to this machine by a cable that can be cut."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

#: Seconds in which a cable works that was put in.
SETTLE_SECONDS = 10
#: A port on which nothing listens.
DISCARD = 9


@dataclass(frozen=True)
class Island:
    """A network namespace with one cable to this machine.

    Attributes:
        name: of the namespace.
        host: the address that programs in it listen on.
    """

    name: str
    host: str

    @property
    def before(self) -> list[str]:
        """What a command is preceded by, to run there."""
        return ["ip", "netns", "exec", self.name]

    def cut(self) -> None:
        """Let no packet through; nobody is told."""
        self._link("down")

    def mend(self) -> None:
        """Let packets through again, and wait until they come: a cable takes up to a second."""
        self._link("up")
        until = time.monotonic() + SETTLE_SECONDS
        while not self._answers() and time.monotonic() < until:
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether the other side says anything, be it that nothing listens there."""
        try:
            socket.create_connection((self.host, DISCARD), timeout=1).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return True

    def _link(self, state: str) -> None:
        # The far end: on this machine the route stays, as when a switch fails.
        _run("ip", "-n", self.name, "link", "set", "there", state)


@contextmanager
def island() -> Iterator[Island | None]:
    """A network of its own while the block runs; None where none can be made (it takes Linux and the superuser)."""
    number = os.getpid() % 2**14
    name, cable = f"island-{number}", f"to-{number}"
    address = f"10.{200 + number // 2**12}.{number // 2**4 % 2**8}.{number % 2**4 * 16 + 1}"
    there = Island(name, address.rpartition(".")[0] + f".{number % 2**4 * 16 + 2}")
    if not shutil.which("ip") or os.geteuid() or not _run("ip", "netns", "add", name, check=False):
        yield None
        return
    try:
        _run("ip", "link", "add", cable, "type", "veth", "peer", "name", "there", "netns", name)
        _run("ip", "address", "add", f"{address}/30", "dev", cable)
        _run("ip", "link", "set", cable, "up")
        _run("ip", "-n", name, "address", "add", f"{there.host}/30", "dev", "there")
        for device in ("there", "lo"):
            _run("ip", "-n", name, "link", "set", device, "up")
        yield there
    finally:
        _run("ip", "netns", "delete", name)


def _run(*words: str, check: bool = True) -> bool:
    return subprocess.run(words, check=check, capture_output=True).returncode == 0
