"""Takes the one file out of a multipart answer, part by part, as it arrives (RFC 2046, 5.1)."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message

from sonoseg.watch.transport import Refusal, Unreachable

_LONGEST_HEAD = 1 << 16


def only_part(content_type: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of the only part of an answer; a file that comes without multipart is passed on as it is.

    Args:
        content_type: the header of that name.
        chunks: the answer.

    Raises:
        Unreachable: the answer is cut short, or not what its header says.
        Refusal: it has several parts.
    """
    if content_type.lower().startswith("text/"):  # such as a proxy's page
        raise Unreachable("its answer is not that of DICOMweb")
    header = Message()
    header["Content-Type"] = content_type
    if header.get_content_maintype() != "multipart":
        yield from chunks
        return
    boundary = header.get_boundary()
    if not boundary:
        raise Unreachable("its answer has parts, and does not say where they end")
    mark = b"--" + boundary.encode("latin-1", "replace")
    end = b"\r\n" + mark
    held = _after_head(mark, chunks)
    while True:
        place = held.find(end)
        if place >= 0:
            yield held[:place]
            _check_last(held[place + len(end) :], chunks)
            return
        # The mark may begin in what has arrived.
        safe = max(0, len(held) - len(end) + 1)
        yield held[:safe]
        chunk = next(chunks, None)
        if chunk is None:
            raise Unreachable("an answer was cut short")
        held = held[safe:] + chunk


def _after_head(mark: bytes, chunks: Iterator[bytes]) -> bytes:
    """Reads up to the end of the first part's header; returns what has arrived of its content."""
    head = b""
    for chunk in chunks:
        head += chunk
        begin = head.find(mark)
        place = head.find(b"\r\n\r\n", begin) if begin >= 0 else -1
        if place >= 0:
            return head[place + 4 :]
        if len(head) > _LONGEST_HEAD:
            break
    raise Unreachable("its answer is not that of DICOMweb")


def _check_last(rest: bytes, chunks: Iterator[bytes]) -> None:
    """Raises Refusal if another part follows; reads the rest of the answer."""
    for chunk in chunks:
        if len(rest) < _LONGEST_HEAD:
            rest += chunk
    if not rest.startswith(b"--"):
        raise Refusal(0, "it answers with several files instead of one")
