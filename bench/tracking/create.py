"""MLflow's SQLite store: made beside its place, so that it is there as a whole or not at all."""

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path

from bench.core.errors import UserError
from bench.core.files import creating, set_aside
from bench.core.sqlite_files import damage, sqlite_address

#: A table of every store, which holds at least one row once the store was made.
EXPERIMENTS = "experiments"
#: Those that MLflow makes first.
FIRST_TABLES = {EXPERIMENTS, "runs", "metrics", "params", "tags", "alembic_version"}


def prepare_database(database: Path, artifacts: str) -> None:
    """Make a store where there is none, in place of one whose making was cut short too.

    Args:
        database: the SQLite file; no other process may prepare it at the same time.
        artifacts: the place for the artifacts of MLflow's own default experiment.

    Raises:
        UserError: when the file is damaged or something else than a store of MLflow, or cannot be written.
    """
    if database.exists():
        reason = damage(database, ())
        if reason and reason != "is empty":
            raise UserError(
                f"{database} {reason}; put a copy of it back, or rename it, and `bench track runs` logs the run "
                "folders again"
            )
        if not reason and _finished(database):
            return
        set_aside(database, "holds no experiment, for its making was cut short", warnings.warn)
    with creating(database) as path:
        _make(path, artifacts)


def _finished(database: Path) -> bool:
    """Whether a database was made to its end.

    Raises:
        UserError: when it is a database of something else.
    """
    with closing(sqlite3.connect(database)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")  # refused while another process makes it
            tables = {
                name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
            }
            if EXPERIMENTS in tables:
                return connection.execute(f"SELECT 1 FROM {EXPERIMENTS} LIMIT 1").fetchone() is not None
        except sqlite3.OperationalError:
            return True  # in use, or a disk that fails: for MLflow to say
    if tables and not tables & FIRST_TABLES:
        raise UserError(
            f"{database} is no store of MLflow: it has a table {min(tables)!r}; name another file with --tracking"
        )
    return False


def _make(path: Path, artifacts: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    store = SqlAlchemyStore(sqlite_address(path), artifacts)
    store.engine.dispose()
