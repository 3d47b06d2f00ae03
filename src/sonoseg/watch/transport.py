"""Requests to a server, with limits on sizes and times, and errors that say whether to ask again."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sonoseg.errors import visible
from sonoseg.files import write_error
from sonoseg.watch.address import Address

Unpack = Callable[[str, Iterator[bytes]], Iterator[bytes]]
_CHUNK = 1 << 16
_MOST_JSON = 16 * 10**6
_MOST_FILE = 4 * 10**9
_JSON_SECONDS, _FILE_SECONDS = 60.0, 900.0
"""How long an answer may take in all."""
_WORKING = (408, 425, 429)
"""Statuses below 500 by which a server or a proxy says: not now."""
_GENERAL = (401, 403, 406, 407)
TAKES_NOTHING = (404, 405, 411, 415)
"""The statuses of a server that has no call to store: not the fault of one object."""
TOO_LARGE = 413
"""The status of a server, or a proxy before it, that limits the size of a body."""


class Unreachable(Exception):
    """The server cannot be reached or does not work now; the same call may succeed later."""


class ServerFailure(Unreachable):
    """The server answers that it has failed: it may be about this one instance."""


class Refusal(Exception):
    """The server refuses a call, and will refuse it again.

    Attributes:
        status: of HTTP; 0 if the server said it in words.
        content: the begin of the answer.
    """

    def __init__(self, status: int, reason: str, content: bytes = b"") -> None:
        super().__init__(reason)
        self.status = status
        self.content = content

    @property
    def is_general(self) -> bool:
        """Whether it is about every call, and not about one instance: a login, a redirect, or the form of answers."""
        return self.status in _GENERAL or 300 <= self.status < 400


class Transport:
    """Sends requests to one server.

    Every method raises `Unreachable` or `Refusal`.

    Args:
        address: of the server.
        timeout: seconds to wait for a connection, and for each part of an answer.
    """

    def __init__(self, address: Address, timeout: float = 60.0) -> None:
        self.address = address
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirect)

    @contextmanager
    def open(
        self, path: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a GET request, or to POST if there is content.

        Args:
            path: what follows the address.
            headers: of the request.
            content: of the request's body.
        """
        request = urllib.request.Request(self.address.url + path, content)
        for name, value in headers.items():
            request.add_header(name, value)
        if self.address.authorization:
            request.add_header("Authorization", self.address.authorization)
        try:
            with self._opener.open(request, timeout=self._timeout) as reply:
                yield reply
        except urllib.error.HTTPError as error:
            with error:
                raise _refused(error) from None
        except urllib.error.URLError as error:
            raise Unreachable(_reason(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_reason(error)) from None

    def read(
        self, path: str, headers: Mapping[str, str], content: bytes | None = None
    ) -> bytes:
        """The content of a small answer."""
        with self.open(path, headers, content) as reply:
            return b"".join(chunks(reply, _MOST_JSON, _JSON_SECONDS))

    def save(
        self, path: str, headers: Mapping[str, str], file: Path, unpack: Unpack
    ) -> None:
        """Writes the content of a large answer to a file.

        Args:
            path: what follows the address.
            headers: of the request.
            file: to write.
            unpack: gets the answer's Content-Type and content, and yields what is written.

        Raises:
            InputError: the disk is full or cannot be written to.
        """
        with self.open(path, headers) as reply:
            try:
                file.touch(0o600)  # it holds the data of a patient
                stream = file.open("wb")
            except OSError as error:
                raise write_error(file, error) from error
            kind = reply.headers.get("Content-Type", "")
            arriving = chunks(reply, _MOST_FILE, _FILE_SECONDS)
            with stream:
                for chunk in unpack(kind, arriving):
                    try:
                        stream.write(chunk)
                    except OSError as error:
                        raise write_error(file, error) from error


def as_it_is(_: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of an answer that is one file."""
    return chunks


def parse_json(text: bytes) -> Any:
    """The value in an answer; None if it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def chunks(
    reply: http.client.HTTPResponse, most: int, seconds: float
) -> Iterator[bytes]:
    """The content of an answer, part by part.

    Args:
        reply: the answer, of which nothing has been read.
        most: bytes that it may have.
        seconds: that it may take.
    """
    end = time.monotonic() + seconds
    expected = reply.length
    count = 0
    while chunk := reply.read1(_CHUNK):
        count += len(chunk)
        if count > most:
            raise Refusal(0, f"its answer is over {most // 10**6} MB")
        if time.monotonic() > end:
            raise Unreachable(f"an answer took over {seconds:.0f} s")
        yield chunk
    if expected is not None and count < expected:
        raise Unreachable("an answer was cut short")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead a password to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _refused(error: urllib.error.HTTPError) -> Exception:
    status = error.code
    if status == 500:
        return ServerFailure("it answers with status 500")
    if status > 500 or status in _WORKING:
        return Unreachable(f"it answers with status {status}")
    try:
        content = error.read(_CHUNK)
    except (OSError, http.client.HTTPException):
        content = b""
    return Refusal(status, f"it answers with status {status}", content)


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return visible(str(words)[:200])
