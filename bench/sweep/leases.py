"""Leases on the cells of a sweep, for processes of several machines that share nothing but a folder.

A lease is a file that its owner changes every few seconds. Another process takes over a lease that has not changed
for a while by its own clock, so that clocks may differ. A lease that is taken over has a new generation, a file of
its own: only one process can create it, and the earlier owner sees it and stops.
"""

import errno
import json
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.files import replacing
from bench.core.temporary import temporary_file
from bench.sweep.clock import Clock
from bench.version import __version__

#: Seconds without a change after which a lease is taken over, and the share of it between two changes.
PATIENCE = 60.0
SHARE = 6
#: Seconds for which one listing of the folder serves many looks: with thousands of cells, each listing is long.
LISTED = 1.0
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP)
#: Processes that may die over one cell before it counts as failed.
MOST_DEATHS = 3


class DeadProcesses(UserError):
    """Too many processes ended without a word while they worked on a cell."""


@dataclass(frozen=True)
class _Seen:
    content: bytes
    since: float


class Leases:
    """The leases in a folder, as one process sees them.

    Args:
        folder: of the leases; made with the first one.
        patience: seconds without a sign of life before a lease is taken over.
        clock: tells the time, and keeps leases alive.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE, clock: Clock | None = None) -> None:
        self._folder = folder
        self._patience = patience
        self._clock = clock or Clock()
        self._seen: dict[str, _Seen] = {}
        self._generations: dict[str, int] = {}
        self._listed: float | None = None

    def take(self, key: str, on_loss: Callable[[], None] = lambda: None) -> "Lease | None":
        """Take the lease of a cell; None while another process holds it.

        Args:
            key: of the cell; can stand in a file name.
            on_loss: called from another thread when another process has taken the lease over.

        Raises:
            DeadProcesses: when too many processes died over it; `forgive` lets it be tried again.
            UserError: when a process with another version of the package holds it.
        """
        generation, holder, content = self._latest(key)
        if holder is not None and not self._is_free(key, holder, content):
            return None
        deaths = 0
        if holder is not None:
            known = holder.get("deaths")
            deaths = (known if isinstance(known, int) else 0) + (holder.get("state") != "free")
        if holder is not None and deaths >= MOST_DEATHS:
            # Nobody holds it any more, so that it counts as failed and not as running.
            _replace(self._path(key, generation), {**holder, "state": "free", "deaths": deaths})
            raise DeadProcesses(
                f"{deaths} processes ended without a word while they worked on it; the last one was "
                f"{holder.get('host')}, process {holder.get('pid')} (too little memory?)"
            )
        path = self._path(key, generation + 1)
        own = {**_self(), "state": "held", "deaths": deaths, "token": secrets.token_hex(8)}
        if not _create(path, own):
            self._listed = None
            return None
        if generation and self._is_passed(key, generation + 1):
            path.unlink(missing_ok=True)
            return None
        # The first generation stays, so that nobody else can be the first.
        for old in range(2, generation):
            self._path(key, old).unlink(missing_ok=True)
        self._generations[key] = generation + 1
        return Lease(self._folder, key, generation + 1, own, self._patience / SHARE, on_loss, self._clock)

    def holder(self, key: str) -> str:
        """Who works on a cell, as "host, process N"; "" for nobody."""
        _, holder, _ = self._latest(key)
        if holder is None or holder.get("state") == "free" or _is_dead(holder):
            return ""
        return f"{holder.get('host')}, process {holder.get('pid')}"

    def forgive(self, key: str) -> None:
        """Forget the deaths over a cell, so that it may be tried again."""
        generation, holder, _ = self._latest(key)
        free = holder is not None and (holder.get("state") == "free" or _is_dead(holder))
        if holder is not None and holder.get("deaths") and free:
            _replace(self._path(key, generation), {**holder, "state": "free", "deaths": 0})

    def _latest(self, key: str) -> tuple[int, dict[str, Any] | None, bytes]:
        """The latest generation of a lease, what it says, and its bytes; 0 and None where nobody ever held it."""
        if self._listed is None or self._clock.now() - self._listed > LISTED:
            self._list()
        generation = self._generations.get(key, 0)
        if not generation:
            return 0, None, b""
        holder, content = None, b""
        with suppress(OSError, ValueError, RecursionError):  # gone, or damaged: then only its silence counts
            content = self._path(key, generation).read_bytes()
            holder = json.loads(content)
        return generation, holder if isinstance(holder, dict) else {}, content

    def _is_passed(self, key: str, generation: int) -> bool:
        """Whether others took a lease several times since it was listed, and deleted what we created again."""
        self._list()
        return self._generations.get(key, 0) > generation

    def _list(self) -> None:
        self._generations, self._listed = _listing(self._folder), self._clock.now()
        self._seen = {key: seen for key, seen in self._seen.items() if key in self._generations}

    def _is_free(self, key: str, holder: dict[str, Any], content: bytes) -> bool:
        if holder.get("state") == "free" or _is_dead(holder):
            return True
        seen = self._seen.get(key)
        if seen is None or seen.content != content:
            self._seen[key] = _Seen(content, self._clock.now())
            if seen is not None and holder.get("version", __version__) != __version__:
                raise UserError(
                    f"{holder.get('host')} works on this folder with regionbench {holder['version']}, and this is "
                    f"{__version__}; install the same version everywhere, or choose another --out"
                )
            return False
        return self._clock.now() - seen.since > self._patience

    def _path(self, key: str, generation: int) -> Path:
        return _path(self._folder, key, generation)


class Lease:
    """A lease that this process holds, kept alive until it is released.

    Attributes:
        lost: whether another process has taken it over.
    """

    def __init__(
        self,
        folder: Path,
        key: str,
        generation: int,
        content: dict[str, Any],
        pause: float,
        on_loss: Callable[[], None],
        clock: Clock,
    ) -> None:
        self._folder, self._key, self._generation = folder, key, generation
        self._path, self._content = _path(folder, key, generation), content
        self._on_loss, self._beats = on_loss, 0
        self.lost = False
        self._end = clock.every(pause, self._beat)

    def release(self, *, over: bool = False) -> None:
        """Give the cell back.

        Args:
            over: the cell has its result, so that its lease is deleted: a sweep of thousands of cells would leave
                thousands of files otherwise, and each look at any cell lists them all.
        """
        self._end()
        if self.lost:
            return
        if not over:
            _replace(self._path, {**self._content, "state": "free", "deaths": 0})
            return
        # The own file is the last one, so that nobody takes an earlier one for the latest.
        for generation in (1, self._generation - 1, self._generation):
            _path(self._folder, self._key, generation).unlink(missing_ok=True)

    def _beat(self) -> bool:
        # A later generation, or none: others took it over, and may have finished the cell meanwhile.
        try:
            latest = _listing(self._folder).get(self._key)
        except OSError:  # a folder that cannot be read for a moment ends no training either
            return True
        if latest != self._generation:
            self.lost = True
            self._on_loss()
            return False
        self._beats += 1
        _replace(self._path, {**self._content, "beats": self._beats})
        return True


def _path(folder: Path, key: str, generation: int) -> Path:
    return folder / f"{key}.{generation}.lease"


def _listing(folder: Path) -> dict[str, int]:
    """The latest generation of each lease in a folder."""
    found: dict[str, int] = {}
    with suppress(FileNotFoundError):
        for name in os.listdir(folder):
            if name.endswith(".lease"):
                key, _, digits = name[:-6].rpartition(".")
                number = int(digits) if digits.isdecimal() else 0
                if number > found.get(key, 0):
                    found[key] = number
    return found


def _self() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "version": __version__}


@cache
def _machine() -> str:
    """Marks processes that see each other's numbers: one boot of one machine, one container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')} {socket.gethostname()}"
    except OSError:
        return ""


def _is_dead(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that is gone; of another machine's, only silence tells."""
    machine, number = _machine(), holder.get("pid")
    if not machine or holder.get("machine") != machine or not isinstance(number, int):
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # a number that is no process's, in a damaged file
        return False
    return False


def _create(path: Path, content: dict[str, Any]) -> bool:
    """Create a file that does not exist, with its content, or leave it alone; works over NFS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path) as draft:
        draft.write_text(json.dumps(content), encoding="utf-8")
        try:
            os.link(draft, path)
        except FileExistsError:
            return draft.stat().st_nlink > 1  # over NFS, where a repeated request meets the link that it made
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            raise UserError(
                f"cannot divide the work in {path.parent}: its file system has no hard links "
                f"({error.strerror}); choose another --out"
            ) from error
    return True


def _replace(path: Path, content: dict[str, Any]) -> None:
    with suppress(UserError), replacing(path) as draft:  # a disk that is full for a moment ends no training
        draft.write_text(json.dumps(content), encoding="utf-8")
