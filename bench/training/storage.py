"""Where several processes keep the study of a search: a database server, a journal, or Optuna's proxy."""

import logging
import os
import random
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from optuna.storages import BaseStorage
from optuna.storages.journal import JournalFileBackend, JournalStorage
from sqlalchemy.exc import IntegrityError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from bench.core.databases import check_database, check_driver
from bench.core.errors import UserError
from bench.core.locks import locked
from bench.core.secrets import hide, redact
from bench.core.sqlite_files import database_path

EXPECTED = (
    "expected postgresql://host/name, the path of a journal file, or grpc://host:port of Optuna's proxy"
)
DATABASES = ("postgresql", "mysql", "mariadb")
#: Seconds that a server may take to answer.
CONNECT = 10
#: Seconds after which a connection to PostgreSQL without any answer is given up, as where the network was cut.
SILENCE = 60
#: Tries to create the tables, which several processes may do at once.
TRIES = 10


def refuse_several(addresses: Iterable[str | None]) -> None:
    """Refuse storages that serve one process, where several would search.

    Raises:
        UserError: with the reason.
    """
    if any(address is not None and not is_shared(address) for address in addresses):
        raise UserError(
            "--storage sqlite:// is for one process: SQLite waits for no other one, and its locks do not hold on "
            "network folders; give postgresql://host/name or the path of a journal file"
        )


def is_shared(address: str | None) -> bool:
    """Whether several processes may search on a storage."""
    return address is not None and database_path(address) is None


def check_storage(address: str) -> None:
    """Refuse a storage that cannot be used: its form, its driver, its server, its tables; makes no file.

    Raises:
        UserError: in one line without secrets.
    """
    path = database_path(address) if "://" in address else Path(address)
    if path is not None and path.name and not path.exists() and os.access(path.parent, os.W_OK):
        if "://" not in address:
            _check_journal(path.absolute())
        return
    with open_storage(address):
        pass


@contextmanager
def open_storage(address: str) -> Iterator[BaseStorage]:
    """Connect to a storage while the block runs.

    Args:
        address: a URI, or the path of a journal file.

    Raises:
        UserError: when it cannot be used.
    """
    shown = redact(address)
    scheme, mark, _ = address.partition("://")
    kind = scheme.partition("+")[0]
    optuna.logging.set_verbosity(logging.ERROR)
    if kind == "sqlite" and mark:
        yield from _sqlite(address, shown)
    elif kind == "grpc" and mark:
        yield from _proxy(address, shown)
    elif kind in DATABASES and mark:
        try:
            check_database(address)
        except ValueError as error:
            raise UserError(f"--storage: {error}; got {shown!r}") from None
        check_driver(address)
        connecting: dict[str, int] = {"connect_timeout": CONNECT}
        if kind == "postgresql":
            # By itself, a query would wait for a quarter of an hour, or for ever where the server has forgotten it.
            connecting |= {"keepalives_idle": SILENCE // 2, "keepalives_interval": SILENCE // 6}
            connecting |= {"keepalives_count": 3, "tcp_user_timeout": 1000 * SILENCE}
        yield from _database(address, shown, {"pool_pre_ping": True, "connect_args": connecting})
    elif mark:
        raise UserError(f"--storage: {EXPECTED}; got {shown!r}")
    else:
        yield _journal(Path(address))


def _database(address: str, shown: str, options: dict[str, Any]) -> Iterator[BaseStorage]:
    for left in reversed(range(TRIES)):
        try:
            # Without a pool first: a connection of a try that fails would stay open.
            optuna.storages.RDBStorage(address, engine_kwargs={**options, "poolclass": NullPool})
            storage = optuna.storages.RDBStorage(address, engine_kwargs=options)
            break
        except (IntegrityError, ProgrammingError) as error:
            if not left:  # another process may have made some of the tables at the same time
                raise _unusable(shown, error) from error
            time.sleep(random.uniform(0.1, 0.5))
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
            raise _unusable(shown, error) from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _sqlite(address: str, shown: str) -> Iterator[BaseStorage]:
    path = database_path(address)
    if path is None or not path.name:
        raise UserError(f"--storage: expected sqlite:///FILE or another storage; {EXPECTED}; got {shown!r}")
    reason = (
        f"another process searches on {path}, and SQLite is for one process: it waits for no other one, and "
        "its locks do not hold on network folders; give postgresql://host/name or the path of a journal file"
    )
    with locked(path.with_name(f".{path.name}.lock"), reason):
        yield from _database(address, shown, {})


def _check_journal(path: Path) -> None:
    if path.suffix in (".db", ".sqlite", ".sqlite3"):
        raise UserError(f"--storage: {path.name} looks like a SQLite database; {EXPECTED}")
    if path.exists() and not path.is_file():
        raise UserError(f"--storage: {path} is no regular file; {EXPECTED}")
    probe = path.with_name(f".{path.name}.{random.getrandbits(64):016x}.link")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.symlink_to(path.name)  # Optuna's lock is such a link
        probe.unlink()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"--storage: the folder of {path} cannot hold the lock of a journal ({reason}); choose a folder that "
            f"can be written and has symbolic links, or postgresql://host/name"
        ) from error


def _journal(path: Path) -> BaseStorage:
    path = path.absolute()
    _check_journal(path)
    try:
        return JournalStorage(JournalFileBackend(str(path)))
    except OSError as error:
        raise UserError(f"--storage: {path} cannot be opened ({error.strerror or error})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"--storage: {path} is no journal of Optuna's, or is damaged; {EXPECTED}") from error


def _proxy(address: str, shown: str) -> Iterator[BaseStorage]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or not port or parts.path.strip("/") or parts.username:
        raise UserError(f"--storage: expected grpc://host:port, got {shown!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            storage = optuna.storages.GrpcStorageProxy(host=host, port=port)
    except ImportError:
        raise UserError(
            "a storage at grpc:// needs grpcio, which is not installed: pip install 'regionbench[search]'"
        ) from None
    try:
        storage.wait_server_ready(timeout=CONNECT)
    except ConnectionError as error:
        storage.close()
        raise UserError(
            f"--storage {shown} did not answer within {CONNECT} s; is Optuna's proxy running?"
        ) from error
    try:
        yield storage
    finally:
        storage.close()


def _unusable(shown: str, error: BaseException) -> UserError:
    return UserError(
        f"--storage {shown} cannot be used: {hide(root(error))}; are the server running and the login right?"
    )


def root(error: BaseException) -> str:
    """The first line of the error that an error of a storage comes from."""
    while (cause := error.__cause__) is not None:
        error = cause
    return " ".join(str(error).strip().partition("\n")[0].split())


def is_of_storage(error: BaseException) -> bool:
    """Whether an error comes from a storage rather than from a training."""
    ours = (optuna.exceptions.OptunaError, SQLAlchemyError)
    return isinstance(error, ours) or any(kind.__module__.startswith("grpc") for kind in type(error).__mro__)
