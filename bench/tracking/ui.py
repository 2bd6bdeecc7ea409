"""`bench ui`: MLflow's pages over our store, one small process that stops when we do."""

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import entry_points

from bench.core.errors import UserError
from bench.core.secrets import hide
from bench.tracking import guard
from bench.tracking.settings import Settings
from bench.tracking.store import open_store

LOOPBACK = ("localhost", "127.0.0.1")
ANY = "0.0.0.0"
#: Errors that another port mends.
OF_THE_PORT = (errno.EADDRINUSE, errno.EACCES, errno.EPERM)
#: The name under which the installed package offers MLflow the app of `bench/tracking/pages.py`.
APP = "regionbench"
START_SECONDS = 120
STOP_SECONDS = 10


def ui_command(
    settings: Settings, host: str, port: int, results: str = ""
) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of an MLflow server over the store of the settings.

    With `results`, the part of an address that shows them, the page `/results` leads there. The store goes into the
    environment: it may hold a password, which a process list would show.
    """
    argv = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    ours = {
        "MLFLOW_BACKEND_STORE_URI": settings.uri,
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifact_root,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
    }
    if results and entry_points(group="mlflow.app", name=APP):
        argv += ["--app-name", APP]
        ours["REGIONBENCH_RESULTS"] = results
    if host not in LOOPBACK:
        # MLflow answers only to names that it was told, and the page's own requests carry an origin.
        names = _names(host)
        ours["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(f"{name},{name}:{port}" for name in names)
        ours["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(f"http://{name}:{port}" for name in names)
    return argv, {**os.environ, **ours}


def serve_ui(settings: Settings, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serve the MLflow UI until Ctrl-C; for a remote server, print its address.

    Raises:
        UserError: when the port is taken, or MLflow does not start.
    """
    if settings.server:
        say(f"MLflow: {settings.shown}")
        return
    _free(host, port)
    with open_store(settings) as store:  # makes the tables under our lock, before the server would
        results = store.results_page()
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        argv, environment = ui_command(settings, host, port, results)
        server = subprocess.Popen(
            [sys.executable, guard.__file__, *argv],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        with _stopping(server):
            _wait_until_up(server, host, port)
            if server.poll() is None:
                say(f"MLflow: http://{host}:{port} (Ctrl-C to stop)")
                page = "results" if APP in argv else results
                say(f"results, the most robust first: http://{host}:{port}/{page}")
            code = server.wait()
            log.seek(0)
            lines = [line for line in log.read().splitlines() if line.strip()]
            raise UserError(
                f"the MLflow server ended by itself (exit code {code}): {hide(' '.join(lines[-1:]))}"
            )


def _names(host: str) -> list[str]:
    own = socket.gethostname()
    names = [*LOOPBACK, own, socket.getfqdn(), *({host} - {ANY})]
    with suppress(OSError):  # a machine that cannot look up its own name is still reached by the others
        names += [str(info[4][0]) for info in socket.getaddrinfo(own, None, socket.AF_INET)]
    return list(dict.fromkeys(names))


def _free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except (OSError, UnicodeError) as error:
        number = getattr(error, "errno", None) or -1
        option = "--port" if number in OF_THE_PORT else "--host"
        # The resolver's errors are negative.
        reason = os.strerror(number) if number > 0 else "expected a name or an IPv4 address of this machine"
        raise UserError(f"cannot listen on {host}:{port} ({reason}); choose another with {option}") from error


def _wait_until_up(server: subprocess.Popen[bytes], host: str, port: int) -> None:
    local = "127.0.0.1" if host == ANY else host
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            return socket.create_connection((local, port), timeout=1).close()
        time.sleep(0.2)
    if server.poll() is None:
        raise UserError(f"the MLflow server did not start within {START_SECONDS} seconds")
    return None


@contextmanager
def _stopping(server: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop the server and every process it started when the block ends; Ctrl-C ends the block without an error."""
    try:
        yield
    except KeyboardInterrupt as stop:
        if type(stop) is not KeyboardInterrupt:  # another signal, which the exit code has to tell
            raise
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(server.pid, number)
                server.wait(STOP_SECONDS)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        if server.stdin is not None:
            server.stdin.close()
