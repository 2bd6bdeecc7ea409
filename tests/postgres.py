"""A PostgreSQL server of a test's own: in a temporary folder, on loopback, under a user without privileges."""

import glob
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

USER = "bench"


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a database with a password, while the block runs; skips where PostgreSQL is not installed."""
    pytest.importorskip("psycopg")
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb")) or [shutil.which("initdb") or ""]
    if not found[-1]:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    programs = Path(found[-1]).parent
    # The server refuses to run as root.
    other: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        other = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    password = secrets.token_hex(12)
    try:
        (folder / "password").write_text(password)
        if other:
            for path in (folder, folder / "password"):
                os.chown(path, other["user"], other["group"])
        data = str(folder / "data")
        words = [str(programs / "initdb"), "-D", data, "-U", USER, "-A", "scram-sha-256", "--no-sync"]
        words += [f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C"]
        subprocess.run(words, check=True, capture_output=True, cwd=folder, **other)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        control = [str(programs / "pg_ctl"), "-D", data, "-w", "-l", str(folder / "log")]
        options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off -c max_connections=200"
        subprocess.run(
            [*control, "-o", options, "start"],
            check=True,
            cwd=folder,
            **other,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"],
                check=False,
                cwd=folder,
                **other,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
