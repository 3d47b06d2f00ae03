"""A small Orthanc in this process: changes, instances and storing, with faults on demand."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pydicom


def identifier_of(uid: str) -> str:
    """A UID as Orthanc's identifier: a SHA-1 in five groups."""
    digest = hashlib.sha1(uid.encode()).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


class Archive(ThreadingHTTPServer):
    """Holds DICOM files.

    Attributes:
        files: content of each instance by its identifier.
        changes: as Orthanc lists them.
        calls: method and path of every request.
        posts: how many files were sent to it.
        fault: called with handler, method and path; answers the request itself if it returns True.
        date: of new changes.
        after_store: called when a file is stored, before that is answered.
        authorization: the header of that name of the last request.
    """

    daemon_threads = True

    def __init__(
        self, port: int = 0, handler: type[BaseHTTPRequestHandler] | None = None
    ) -> None:
        self.files: dict[str, bytes] = {}
        self.changes: list[dict[str, Any]] = []
        self.calls: list[str] = []
        self.posts = 0
        self.date = "20261128T120000"
        self.fault: Callable[[Any, str, str], bool] = lambda *_: False
        self.after_store: Callable[[], None] = lambda: None
        self.authorization: str | None = None
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), handler or Handler)
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def stop(self) -> None:
        self.shutdown()
        self.server_close()

    def add(self, content: bytes) -> str:
        """Stores a file as a scanner would; returns its status."""
        dataset = pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)
        identifier = identifier_of(dataset.SOPInstanceUID)
        with self._lock:
            if identifier in self.files:
                return "AlreadyStored"
            self.files[identifier] = content
            for kind in ("NewSeries", "NewInstance"):
                number = len(self.changes) + 1
                entry = {"ChangeType": kind, "ID": identifier, "Seq": number}
                self.changes.append({**entry, "Date": self.date})
        return "Success"

    def datasets(self, modality: str) -> list[pydicom.Dataset]:
        """All objects of a modality."""
        found = []
        for content in self.files.values():
            dataset = pydicom.dcmread(io.BytesIO(content))
            if dataset.Modality == modality:
                found.append(dataset)
        return found


class Handler(BaseHTTPRequestHandler):
    server: Archive

    def do_GET(self) -> None:
        if self.begins("GET"):
            return
        path, _, query = self.path.partition("?")
        if path == "/changes":
            self._changes(query)
            return
        _, _, identifier, what = path.split("/", 3)
        content = self.server.files.get(identifier)
        if content is None:
            self.answer(404, b"")
        elif what == "file":
            self.answer(200, content)
        else:
            assert what == "content/0008-0016"
            dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=[0x00080016])
            self.answer(200, dataset.SOPClassUID.encode() + b"\0")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if self.begins("POST"):
            return
        assert self.path == "/instances"
        self.server.posts += 1
        status = self.server.add(content)
        self.server.after_store()
        self.answer(200, json.dumps({"ID": "x", "Status": status}).encode())

    def answer(self, status: int, content: bytes, length: int | None = None) -> None:
        """Sends an answer; `length` is what its header says."""
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""

    def begins(self, method: str) -> bool:
        """Notes a request; returns whether a fault has answered it."""
        self.server.authorization = self.headers["Authorization"]
        self.server.calls.append(f"{method} {self.path}")
        return self.server.fault(self, method, self.path)

    def _changes(self, query: str) -> None:
        changes = self.server.changes
        if query == "last":
            shown = changes[-1:]
        else:
            words = dict(word.split("=") for word in query.split("&"))
            since = int(words["since"])
            shown = changes[since : since + int(words["limit"])]
        last = shown[-1]["Seq"] if shown else 0
        answer = {"Changes": shown, "Done": True, "Last": last}
        self.answer(200, json.dumps(answer).encode())


def fails(status: int, times: int, begin: str) -> Callable[[Any, str, str], bool]:
    """A fault: the first requests "METHOD path" that begin so are answered with this status."""
    left = [times]

    def fault(handler: Any, method: str, path: str) -> bool:
        if not left[0] or not f"{method} {path}".startswith(begin):
            return False
        left[0] -= 1
        handler.answer(status, b"")
        return True

    return fault
