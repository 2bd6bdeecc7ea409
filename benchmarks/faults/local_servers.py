"""Servers of this machine that can be killed and started again: MLflow's and PostgreSQL."""

import glob
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

from benchmarks.faults.island import Island

LOOPBACK = "127.0.0.1"
#: MLflow's server kills a worker that does not answer it for 5 seconds, which happens on a busy machine.
PATIENT = "--timeout-worker-healthcheck 120"
#: Seconds that a server may take to start on a busy machine.
START = 400.0


class Server:
    """A server that can be killed and started again on the same port and data.

    Args:
        words: of its command.
        folder: where it runs.
        host, port: that it listens on.
        ready: whether the server answers, once it listens.
        variables: of its environment, besides those of this process.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        host: str,
        port: int,
        ready: Callable[[], bool],
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._words, self._folder, self._ready = words, folder, ready
        self._variables = {**os.environ, **(variables or {})}
        self.host, self.port = host, port
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                self._words,
                cwd=self._folder,
                env=self._variables,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START
        while time.monotonic() < deadline:
            with suppress(OSError):
                socket.create_connection((self.host, self.port), timeout=1).close()
                if self._ready():
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
def mlflow_server(
    folder: Path, place: Island | None = None, *, database: str = "sqlite:///server.db", workers: int = 1
) -> Iterator[Server]:
    """MLflow's server with its artifacts in a folder, on loopback or in a network of its own."""
    host, port = place.host if place else LOOPBACK, free_port()
    words = [*(place.before if place else []), sys.executable, "-m", "mlflow", "server"]
    words += ["--artifacts-destination", "artifacts", "--allowed-hosts", f"{host}:{port}"]
    words += ["--host", host, "--port", str(port), "--workers", str(workers)]

    def ready() -> bool:
        with urlopen(f"http://{host}:{port}/health", timeout=5) as answer:
            return bool(answer.status == 200)

    # A password on a command line could be read by others.
    variables = {"MLFLOW_BACKEND_STORE_URI": database, "MLFLOW_UVICORN_OPTS": PATIENT}
    # Its seven processes for jobs of language models keep a processor busy.
    variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    server = Server(words, folder, host, port, ready, variables)
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
def postgres_server(programs: Path, place: Island | None = None) -> Iterator[tuple[Server, str]]:
    """PostgreSQL on loopback or in a network of its own, and the address of a database with a password.

    It runs as a user without privileges.
    """
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))  # where that user comes
    password, host, port = secrets.token_hex(12), place.host if place else LOOPBACK, free_port()
    try:
        (folder / "password").write_text(password)
        if user:  # as root it refuses to run
            for path in (folder, folder / "password"):
                shutil.chown(path, "nobody", "nogroup")
        data = str(folder / "data")
        words = [str(programs / "initdb"), "-D", data, "-U", "bench", "-A", "scram-sha-256", "--no-sync"]
        words += [f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C"]
        subprocess.run([*user, *words], check=True, capture_output=True, cwd=folder)
        with open(Path(data) / "pg_hba.conf", "a") as rules:
            rules.write("host all all 10.0.0.0/8 scram-sha-256\n")
        words = [*(place.before if place else []), *user, str(programs / "postgres"), "-D", data]
        words += [
            "-h",
            host,
            "-p",
            str(port),
            "-k",
            str(folder),
            "-c",
            "fsync=off",
            "-c",
            "max_connections=200",
        ]

        def ready() -> bool:
            asked = [str(programs / "pg_isready"), "-q", "-h", host, "-p", str(port)]
            return subprocess.run(asked, check=False).returncode == 0

        server = Server(words, folder, host, port, ready)
        try:
            server.start()
            yield server, f"postgresql+psycopg://bench:{password}@{host}:{port}/postgres"
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
