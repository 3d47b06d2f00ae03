"""The calls of Orthanc's REST interface that are needed: changes, files of instances, and storing."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonoseg.errors import visible
from sonoseg.files import write_error
from sonoseg.watch.address import Address

_CHANGES = 100
"""Changes that are asked for at once."""
_CHUNK = 1 << 16
_MOST_JSON = 16 * 10**6
_MOST_FILE = 4 * 10**9
_JSON_SECONDS, _FILE_SECONDS = 60.0, 900.0
"""How long an answer may take in all."""
_WORKING = (408, 425, 429)
"""Statuses below 500 by which a server or a proxy says: not now."""
_IDENTIFIER = re.compile("[0-9a-f]{8}(-[0-9a-f]{8}){4}")
_STORED = ("Success", "AlreadyStored")


class Unreachable(Exception):
    """The server cannot be reached or does not work now; the same call may succeed later."""


class ServerFailure(Unreachable):
    """The server answers that it has failed: it may be about this one instance."""


class Refusal(Exception):
    """The server refuses a call, and will refuse it again.

    Attributes:
        status: of HTTP; 0 if the server said it in words.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass(frozen=True)
class Change:
    """One entry of Orthanc's list of changes.

    Attributes:
        number: its place in the list; later ones are higher.
        instance: the identifier of a new instance, "" for other changes.
    """

    number: int
    instance: str


class Orthanc:
    """An Orthanc server.

    Every method raises `Unreachable` or `Refusal`.

    Args:
        address: of the server.
        timeout: seconds to wait for a connection, and for each part of an answer.
    """

    def __init__(self, address: Address, timeout: float = 60.0) -> None:
        self.address = address
        self._timeout = timeout
        self._opener = urllib.request.build_opener(_NoRedirect)

    def last_change(self) -> int:
        """The number of the last change, 0 if there is none."""
        return _number(self._json("/changes?last"), "Last")

    def changes(self, since: int) -> list[Change]:
        """The changes after number `since`, in their order, at most 100; none if there are no more."""
        answer = self._json(f"/changes?since={since}&limit={_CHANGES}")
        entries = answer.get("Changes")
        if not isinstance(entries, list):
            raise Unreachable("its answer is not that of Orthanc")
        changes = []
        for entry in entries:
            change = _change(entry)
            if change.number > since:
                changes.append(change)
        return sorted(changes, key=lambda change: change.number)

    def kind(self, instance: str) -> str:
        """The SOP Class UID of an instance."""
        with self._open(f"/instances/{instance}/content/0008-0016") as reply:
            content = b"".join(_chunks(reply, _CHUNK, _JSON_SECONDS))
        return content.decode("ascii", "replace").strip("\0 ")

    def download(self, instance: str, path: Path) -> None:
        """Writes the DICOM file of an instance to `path`.

        Raises:
            InputError: the disk is full or cannot be written to.
        """
        with self._open(f"/instances/{instance}/file") as reply:
            try:
                path.touch(0o600)  # it holds the data of a patient
                file = path.open("wb")
            except OSError as error:
                raise write_error(path, error) from error
            with file:
                for chunk in _chunks(reply, _MOST_FILE, _FILE_SECONDS):
                    try:
                        file.write(chunk)
                    except OSError as error:
                        raise write_error(path, error) from error

    def store(self, content: bytes) -> None:
        """Stores a DICOM file. One that is there already is left as it is."""
        answer = self._json("/instances", content)
        status = str(answer.get("Status", ""))
        if status not in _STORED:
            raise Refusal(0, f"it was not stored ({visible(status[:40])})")

    def _json(self, path: str, content: bytes | None = None) -> dict[str, Any]:
        with self._open(path, content) as reply:
            text = b"".join(_chunks(reply, _MOST_JSON, _JSON_SECONDS))
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise Unreachable("its answer is not that of Orthanc")
        return answer

    @contextmanager
    def _open(
        self, path: str, content: bytes | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        request = urllib.request.Request(self.address.url + path, content)
        if content is not None:
            request.add_header("Content-Type", "application/dicom")
        if self.address.authorization:
            request.add_header("Authorization", self.address.authorization)
        try:
            with self._opener.open(request, timeout=self._timeout) as reply:
                yield reply
        except urllib.error.HTTPError as error:
            error.close()
            raise _refused(error.code) from None
        except urllib.error.URLError as error:
            raise Unreachable(_reason(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_reason(error)) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead a password to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _refused(status: int) -> Exception:
    if status == 500:
        return ServerFailure("it answers with status 500")
    if status > 500 or status in _WORKING:
        return Unreachable(f"it answers with status {status}")
    return Refusal(status, f"it answers with status {status}")


def _reason(error: object) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return visible(str(words)[:200])


def _chunks(
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


def _change(entry: object) -> Change:
    if not isinstance(entry, dict):
        raise Unreachable("its answer is not that of Orthanc")
    number = _number(entry, "Seq")
    if entry.get("ChangeType") != "NewInstance":
        return Change(number, "")
    instance = entry.get("ID")
    # It becomes part of an address.
    if not isinstance(instance, str) or not _IDENTIFIER.fullmatch(instance):
        raise Unreachable("its answer is not that of Orthanc")
    return Change(number, instance)


def _number(answer: dict[str, Any], name: str) -> int:
    number = answer.get(name)
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise Unreachable("its answer is not that of Orthanc")
    return number
