"""A PostgreSQL server of a test's own: in a temporary folder, on loopback, under a user without privileges."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.faults.local_servers import postgres_programs, postgres_server


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a database with a password, while the block runs; skips where PostgreSQL is not installed."""
    pytest.importorskip("psycopg")
    programs = postgres_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    with postgres_server(programs) as (_, address):
        yield address
