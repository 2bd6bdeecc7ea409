"""Servers of this machine that can be killed and started again: MLflow's and PostgreSQL."""

import glob
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

#: Seconds that a server may take to start on a busy machine.
START = 400.0


class Server:
    """A server that can be killed and started again on the same port and data.

    Args:
        words: of its command.
        folder: where it runs.
        port: that it listens on.
        ready: whether the server answers, once it listens.
        user: arguments of `subprocess.Popen` that say as whom it runs.
    """

    def __init__(
        self, words: list[str], folder: Path, port: int, ready: Callable[[int], bool], **user: Any
    ) -> None:
        self._words, self._folder, self._ready, self._user = words, folder, ready, user
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                self._words, cwd=self._folder, stdout=log, stderr=log, start_new_session=True, **self._user
            )
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                if self._ready(self.port):
                    return
            time.sleep(0.2)
        raise RuntimeError((self._folder / "server.log").read_text()[-500:])

    def kill(self) -> None:
        """`kill -9` of all of its processes."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def free_port() -> int:
    """A port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Server]:
    """MLflow's server over SQLite, on loopback."""
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", "sqlite:///server.db"]
    words += [
        "--artifacts-destination",
        "artifacts",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--workers",
        "1",
    ]

    def ready(port: int) -> bool:
        with urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)

    server = Server(words, folder, port, ready)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def postgres_programs() -> Path | None:
    """The folder of PostgreSQL's programs; None where it is not installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb") or ""]
    return Path(found[-1]).parent if found[-1] else None


@contextmanager
def postgres_server(programs: Path) -> Iterator[tuple[Server, str]]:
    """PostgreSQL on loopback, under a user without privileges, and the address of a database with a password."""
    user: dict[str, Any] = {}
    if os.geteuid() == 0:  # as which it refuses to run
        nobody = pwd.getpwnam("nobody")
        user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # where that user comes
    password, port = secrets.token_hex(12), free_port()
    try:
        (folder / "password").write_text(password)
        if user:
            for path in (folder, folder / "password"):
                os.chown(path, user["user"], user["group"])
        data = str(folder / "data")
        words = [str(programs / "initdb"), "-D", data, "-U", "bench", "-A", "scram-sha-256", "--no-sync"]
        words += [f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C"]
        subprocess.run(words, check=True, capture_output=True, cwd=folder, **user)
        words = [
            str(programs / "postgres"),
            "-D",
            data,
            "-h",
            "127.0.0.1",
            "-p",
            str(port),
            "-k",
            str(folder),
        ]
        words += ["-c", "fsync=off", "-c", "max_connections=200"]

        def ready(port: int) -> bool:
            asked = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            return subprocess.run(asked, check=False).returncode == 0

        server = Server(words, folder, port, ready, **user)
        try:
            server.start()
            yield server, f"postgresql+psycopg://bench:{password}@127.0.0.1:{port}/postgres"
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
