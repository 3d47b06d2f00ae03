"""Files that clients sent for a while: a few, in memory, each under an identifier that cannot be guessed."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

_MOST = 8
_MOST_BYTES = 64 << 20
_SECONDS = 3600


@dataclass(frozen=True)
class Upload:
    """One file.

    Attributes:
        content: of the file.
        created, used: times in seconds since 1970.
    """

    content: bytes
    created: float
    used: float


class Uploads:
    """At most 8 files of 64 MB together; the one that was used longest ago goes first. Each is kept for an hour."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, Upload] = OrderedDict()

    def add(self, content: bytes) -> str:
        """Keeps a file; returns its identifier."""
        identifier, now = secrets.token_hex(16), time.time()
        with self._lock:
            self._files[identifier] = Upload(content, now, now)
            while len(self._files) > 1 and self._is_full():
                self._files.popitem(last=False)
        return identifier

    def get(self, identifier: str) -> Upload | None:
        """A file, None if it is not kept (any more)."""
        now = time.time()
        with self._lock:
            upload = self._files.pop(identifier, None)
            if upload is None or now - upload.used > _SECONDS:
                return None
            upload = Upload(upload.content, upload.created, now)
            self._files[identifier] = upload
        return upload

    def remove(self, identifier: str) -> Upload | None:
        """Forgets a file, and returns it; None if it was not kept."""
        with self._lock:
            return self._files.pop(identifier, None)

    def _is_full(self) -> bool:
        size = sum(len(upload.content) for upload in self._files.values())
        return len(self._files) > _MOST or size > _MOST_BYTES
