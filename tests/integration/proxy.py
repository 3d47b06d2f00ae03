"""A proxy before `sonoseg serve`, which fails or waits when a test wants it to."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60.0
_DROPPED = ("connection", "transfer-encoding", "content-length", "date", "server")


class Gate:
    """Requests wait here.

    Attributes:
        arrived: set when a request has come.
        opened: set when they may pass.
        count: how many have come.
    """

    def __init__(self) -> None:
        self.arrived, self.opened = threading.Event(), threading.Event()
        self.count = 0


class Proxy(ThreadingHTTPServer):
    """A proxy on a free port; a context, which ends it.

    Args:
        target: the port of the server.

    Attributes:
        status: says by method and path with which status the proxy itself answers; 0 passes the request on.
    """

    daemon_threads = True

    def __init__(self, target: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.status: Callable[[str, str], int] = lambda _method, _path: 0
        self.gates: dict[tuple[str, str], Gate] = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self.server_close()

    @contextmanager
    def hold(self, method: str, path: str) -> Iterator[Gate]:
        """Holds requests of a method and a path back until the gate is opened, at the latest at the end."""
        gate = self.gates[method, path] = Gate()
        yield gate
        gate.opened.set()
        del self.gates[method, path]


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urlsplit(self.path).path
        gate = self.server.gates.get((self.command, path))
        if gate is not None:
            gate.count += 1
            gate.arrived.set()
            gate.opened.wait(PATIENCE)
        status = self.server.status(self.command, path)
        headers = {"content-type": "text/html"}
        content = b"<h1>the proxy itself</h1>"
        if not status:
            status, headers, content = self._ask(body)
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _ask(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server.target, timeout=PATIENCE
        )
        connection.request(self.command, self.path, body, dict(self.headers))
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, dict(answer.headers), content

    do_GET = do_POST = do_PUT = do_DELETE = _answer

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""
