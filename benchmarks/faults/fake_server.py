"""Servers that are no MLflow: slow, failing, hanging, or answering something else."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: How a server may behave.
BEHAVIORS = ("slow", "error", "hang", "html", "empty", "list", "cut", "echo", "redirect", "garbage")
SLOW_SECONDS = 3.0
HANG_SECONDS = 60.0


class _Handler(BaseHTTPRequestHandler):
    server: "FakeServer"

    def _answer(self) -> None:
        self.server.requests += 1
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length) if length else b""
        code, kind, content = self.server.answer(self.path, body, str(self.headers))
        try:
            self.send_response(code)
            if code == 302:
                self.send_header("Location", self.path)
            self.send_header("Content-Type", kind)
            self.send_header(
                "Content-Length", str(len(content) + (100 if self.server.behavior == "cut" else 0))
            )
            self.end_headers()
            self.wfile.write(content)
        except OSError:
            pass  # the client has left

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815

    def log_message(self, *_: Any) -> None:
        pass


class FakeServer(ThreadingHTTPServer):
    """An HTTP server on a free port; `slow` is a minimal MLflow that takes three seconds for each request."""

    daemon_threads = True

    def __init__(self, behavior: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behavior, self.requests, self._runs = behavior, 0, 0
        self.ended = threading.Event()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients leave when they are told to."""

    def answer(self, path: str, body: bytes, headers: str) -> tuple[int, str, bytes]:
        """Status, content type and content."""
        kind, text = "application/json", "application/json"
        if self.behavior == "slow":
            time.sleep(SLOW_SECONDS)
            return 200, kind, json.dumps(self._mlflow(path)).encode()
        if self.behavior == "hang":
            self.ended.wait(HANG_SECONDS)
        contents = {
            "error": (500, kind, b'{"error_code": "INTERNAL_ERROR", "message": "database is gone"}'),
            "html": (200, "text/html", b"<html><body>Welcome to the proxy</body></html>"),
            "empty": (200, text, b""),
            "list": (200, kind, b"[1, 2, 3]"),
            "cut": (200, kind, b'{"experiment": {"experiment_id": "1"'),
            "echo": (401, kind, json.dumps({"error_code": "X", "message": f"{path} {headers}"}).encode()),
            "redirect": (302, kind, b""),
            "garbage": (200, kind, bytes(range(256))),
            "hang": (200, kind, b"{}"),
        }
        return contents[self.behavior]

    def _mlflow(self, path: str) -> dict[str, Any]:
        if "experiments/get" in path:
            place = "mlflow-artifacts:/1"
            return {
                "experiment": {"experiment_id": "1", "artifact_location": place, "lifecycle_stage": "active"}
            }
        if "runs/create" in path or "runs/update" in path or "runs/get" in path:
            self._runs += "create" in path
            info = {"run_id": f"r{self._runs}", "start_time": 1, "status": "RUNNING", "experiment_id": "1"}
            info |= {
                "artifact_uri": f"mlflow-artifacts:/1/r{self._runs}/artifacts",
                "lifecycle_stage": "active",
            }
            return {"run": {"info": info, "data": {}}, "run_info": info}
        return {}


@contextmanager
def fake_server(behavior: str) -> Iterator[FakeServer]:
    """Run a server in threads of this process while the block runs."""
    server = FakeServer(behavior)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ended.set()
        server.shutdown()
        server.server_close()
