"""Serve a folder of pages to this machine alone."""

import errno
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from bench.core.errors import UserError


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of each request."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder on 127.0.0.1; port 0 takes a free one.

    Raises:
        UserError: when the port is taken.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(_Quiet, directory=str(folder)))
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken" if taken else f"cannot be used: {error.strerror}"
        raise UserError(f"port {port} {reason}; give another one with --port, 0 for any") from None


def serve(folder: Path, port: int) -> None:
    """Serve a folder until Ctrl-C."""
    with make_server(folder, port) as server:
        click.echo(f"serving http://127.0.0.1:{server.server_address[1]}/ until Ctrl-C", err=True)
        server.serve_forever()
