"""SQLite databases that libraries make and use: their addresses, and whether they are whole."""

import re
import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

#: Characters that mean the same in a path and in an address.
_PLAIN = re.compile(r"[A-Za-z0-9_.~ +/-]*")


def sqlite_address(path: Path, query: str = "") -> str:
    """The address of a database file for SQLAlchemy, with `?`, `%` and the like in the path escaped.

    Args:
        path: of the file.
        query: options of SQLite, as text.
    """
    if _PLAIN.fullmatch(str(path)):
        return f"sqlite:///{path}" + (f"?{query}" if query else "")
    from sqlalchemy import URL

    # With the driver named, since MLflow takes what follows `sqlite:///` for a path as it stands.
    url = URL.create("sqlite+pysqlite", database=str(path)).update_query_string(query)
    return url.render_as_string(hide_password=False)


def database_path(address: str) -> Path | None:
    """The file of a SQLite address; None for any other address."""
    driver, _, path = address.partition("://")
    if driver.partition("+")[0] != "sqlite":
        return None
    if _PLAIN.fullmatch(path):
        return Path(path[1:])
    from sqlalchemy import make_url

    return Path(make_url(address).database or "")


def damage(path: Path, tables: Collection[str], *, thorough: bool = False) -> str:
    """Why a file is no whole database with these tables, such as "is empty"; "" where it is one, or is in use.

    Args:
        path: of a file that exists.
        tables: that must be there.
        thorough: check every page of it.
    """
    if not path.is_file():
        return "is no file"
    if path.stat().st_size == 0:
        return "is empty"
    try:
        with closing(sqlite3.connect(path)) as connection:
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            said = connection.execute("PRAGMA integrity_check").fetchone()[0] if thorough else "ok"
    except sqlite3.OperationalError:
        return ""  # locked, or a disk that fails: not for us to judge
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error})"
    missing = sorted(set(tables) - there)
    if said != "ok":
        return "is damaged"
    return f"has no table {missing[0]}" if missing else ""
