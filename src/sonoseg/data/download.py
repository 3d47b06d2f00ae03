"""Downloads one large file, over a connection that may break off."""

from __future__ import annotations

import contextlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from typing import TextIO

from sonoseg.errors import InputError
from sonoseg.files import file_size, is_there, write_error
from sonoseg.progress import ProgressLine

_CHUNK = 1 << 18
_TIMEOUT = 60.0  # seconds without a byte
_ATTEMPTS = 3  # connections without progress before giving up
LARGEST = 2 << 30
"""Bytes of a download; a server that never ends must not fill the disk."""


class DownloadError(InputError):
    """A file cannot be downloaded; the hint says what to do by hand."""


def download(
    url: str, part: Path, by_hand: str, progress: TextIO | None = None
) -> None:
    """Brings `part` to its full length; what is there of it already is not fetched again.

    Goes on after a broken connection as long as bytes come. A server that cannot resume, or has another file
    than the one begun (by its ETag or date), is asked for all of it.

    Args:
        url: of the file.
        part: where it goes. What identifies the file on the server is kept beside it, see `remove`.
        by_hand: how to download it by hand, as a hint.
        progress: where bytes, percent and time left are shown; None: see `ProgressLine`.

    Raises:
        DownloadError: no connection, or it broke off and `part` grows no more.
        InputError: `part` cannot be written, or the file is larger than `LARGEST`.
    """
    with writing(part), contextlib.suppress(FileNotFoundError):
        _tag(
            part
        ).stat()  # the longest name of all: too long for the disk is no problem of the network's
    failures, reached = 0, 0
    with ProgressLine(progress) as line:
        rate = _Rate(line)
        while True:
            try:
                return _continue(url, part, rate)
            except (OSError, http.client.HTTPException, ValueError) as error:
                before, reached = reached, file_size(part)
                failures = 1 if reached > before else failures + 1
                if (
                    not reached
                    or failures >= _ATTEMPTS
                    or isinstance(error, urllib.error.HTTPError)
                ):
                    raise _error(url, by_hand, reached, error) from error


def remove(part: Path) -> None:
    """Removes `part` and what is kept beside it."""
    for path in (part, _tag(part)):
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Makes a failure to write `path` an InputError, so that it is not taken for the network's."""
    try:
        yield
    except OSError as error:
        raise write_error(path, error) from error


def _error(url: str, by_hand: str, reached: int, error: Exception) -> DownloadError:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    again = (
        f"run the same command again to go on from {reached / 1e6:.1f} MB, or "
        if reached
        else ""
    )
    return DownloadError(url, f"cannot be downloaded ({reason})", again + by_hand)


def _continue(url: str, part: Path, rate: _Rate) -> None:
    """One connection: asks for what `part` lacks, and takes all of it if that is what the server sends."""
    tag = _tag(part)
    done = file_size(part)
    headers = {"User-Agent": "sonoseg"}
    if done:
        headers["Range"] = f"bytes={done}-"
        if is_there(tag):
            headers["If-Range"] = tag.read_text(encoding="latin-1")
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=_TIMEOUT
        )
    except urllib.error.HTTPError as error:
        if error.code != 416 or not done:
            raise
        if (
            error.headers.get("Content-Range") != f"bytes */{done}"
        ):  # not: all of it had arrived before
            remove(part)
            _continue(url, part, rate)
        return
    with response:
        resumed = response.status == 206
        if resumed and not (response.headers.get("Content-Range") or "").startswith(
            f"bytes {done}-"
        ):
            raise ConnectionError(
                "the server sent another part of the file than it was asked for"
            )
        if not resumed:
            done = 0
            _remember(tag, response.headers)
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        done = _append(response, part, done, total, rate)
    if total is not None and done < total:
        raise ConnectionError(f"the connection broke off after {done} of {total} bytes")


def _append(
    source: http.client.HTTPResponse,
    part: Path,
    done: int,
    total: int | None,
    rate: _Rate,
) -> int:
    """Writes what `source` returns behind the first `done` bytes of `part`; returns the new length."""
    if total is not None and total > LARGEST:
        raise _removed(part)
    with writing(part), part.open("ab") as file:
        file.truncate(done)
    while chunk := source.read(_CHUNK):
        with writing(part), part.open("ab") as file:
            file.write(chunk)
        done += len(chunk)
        if done > LARGEST:
            raise _removed(part)
        rate.show(done, total)
    return done


def _removed(part: Path) -> InputError:
    """The error for a download that is too large, which is thrown away."""
    remove(part)
    return InputError(
        part, f"the download is over {LARGEST >> 20} MB", "check the address"
    )


def _remember(tag: Path, headers: Message) -> None:
    """Keeps what identifies the file on the server, so that only the same file is resumed."""
    etag = headers.get("ETag") or ""
    identity = (
        headers.get("Last-Modified") if etag.startswith("W/") or not etag else etag
    )
    with writing(tag):
        tag.unlink(missing_ok=True)
        if identity:
            tag.write_text(identity, encoding="latin-1")


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


class _Rate:
    """Says how many bytes there are, the percent, and the time left."""

    def __init__(self, line: ProgressLine) -> None:
        self._line = line
        self._began, self._first = time.monotonic(), -1

    def show(self, done: int, total: int | None) -> None:
        if self._first < 0:
            self._first = done
        text = f"{done / 1e6:.1f} MB"
        if total:
            rate = (done - self._first) / max(time.monotonic() - self._began, 1e-6)
            left = f", {(total - done) / rate:.0f} s left" if rate > 0 else ""
            text = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB, {100 * done / total:.0f} %{left}"
        self._line.show(text, last=done == total)
