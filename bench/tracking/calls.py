"""Calls of MLflow: with our time limits, and with one line for whatever goes wrong."""

import gc
import importlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from bench.core.errors import UserError
from bench.core.secrets import hide
from bench.tracking.settings import Settings

CONNECT_SECONDS = 3
#: Connections to a server that are kept open.
CONNECTIONS = 32
NOLOAD = "The ``noload`` loader strategy"


@contextmanager
def calling(settings: Settings) -> Iterator[None]:
    """Set our time limits for MLflow's calls while the block runs.

    Raises:
        UserError: when the store cannot be reached, or answers with an error, in one line.
    """
    _knock(settings)
    with time_limits(settings.timeout), nullcontext() if settings.server else _no_retries():
        try:
            yield
        except UserError:
            raise
        # Whatever answers there may be no MLflow at all, and end in any exception of a library. Without the error
        # itself, whose text may hold a password.
        except ImportError as error:
            install = f"; pip install {error.name}" if error.name else ""
            raise UserError(f"MLflow at {settings.shown}: {first_line(error)}{install}") from None
        except Exception as error:
            place = "; name another place with --tracking" if isinstance(error, PermissionError) else ""
            raise UserError(f"MLflow at {settings.shown}: {first_line(error)}{place}") from None


def _import_mlflow() -> None:
    """Import MLflow, which sets up its loggers, without the garbage collections that thousands of modules cause.

    They take a tenth of its time and find nothing; later ones need not look at what it made.
    """
    if "mlflow" in sys.modules:
        return
    collecting = gc.isenabled()
    gc.collect()  # so that nothing is kept that nobody needs
    gc.disable()
    try:
        importlib.import_module("mlflow")
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


def _knock(settings: Settings) -> None:
    """Fail within seconds where no server listens; MLflow itself would retry for minutes."""
    if settings.address is None:
        return
    host, port = settings.address
    if urlsplit(settings.uri).scheme in getproxies() and not proxy_bypass(host):
        return  # only the proxy can tell
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(f"MLflow at {settings.shown} is not reachable: {first_line(error)}") from None


@contextmanager
def time_limits(timeout: int) -> Iterator[None]:
    """Set time limits and silence MLflow's output for a block of calls.

    No retries: the next sync is the retry, and a call sent twice could make a run twice.
    """
    ours = {
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(timeout),
        "PGCONNECT_TIMEOUT": os.environ.get("PGCONNECT_TIMEOUT", str(timeout)),
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
        "MLFLOW_DISABLE_TELEMETRY": os.environ.get("MLFLOW_DISABLE_TELEMETRY", "true"),
        "MLFLOW_HTTP_POOL_MAXSIZE": str(CONNECTIONS),
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    }
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        _import_mlflow()

        logger = logging.getLogger("mlflow")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        # MLflow's database layer asks SQLAlchemy for a loader that is on its way out. Set for good: to put
        # the filters back at the end is not safe beside other threads.
        warnings.filterwarnings("ignore", NOLOAD, DeprecationWarning)
        try:
            yield
        finally:
            logger.setLevel(level)
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_retries() -> Iterator[None]:
    """Open a database once: MLflow tries ten times, in more than three minutes."""
    from mlflow.store.db import utils

    before = utils.MAX_RETRY_COUNT
    utils.MAX_RETRY_COUNT = 1
    try:
        yield
    finally:
        utils.MAX_RETRY_COUNT = before


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, without secrets; after its kind where that is no library's own."""
    lines = hide(str(error)).strip().splitlines()
    known = isinstance(error, OSError) or type(error).__module__.startswith(("mlflow", "sqlalchemy"))
    kind = "" if known and lines else type(error).__name__
    return ": ".join(filter(None, [kind, *lines[:1]]))
