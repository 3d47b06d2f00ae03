"""The bytes of a DICOM file: from a path, from memory, from an open file or a data set; with a preamble, inflated."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import IO, Any

from pydicom import uid
from pydicom.dataset import Dataset

from sonoseg.core.source import MAX_BYTES
from sonoseg.dicom.damage import dicom_errors
from sonoseg.dicom.recognise import HEAD, PREAMBLE, element_order, has_explicit_types
from sonoseg.errors import InputError
from sonoseg.inputs import readable_file

_META_START = HEAD
_LONG_TYPES = (b"OB", b"OW", b"SQ", b"UN", b"UT")
_ITEM = (0xFFFE, 0xE000)
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
"""What a JPEG, also lossless or LS, and a JPEG 2000 stream begin with; the latter may lie in a file format."""
_RLE_FIRST = 64
"""Where the first segment of an RLE frame lies: behind a header that is always so long (PS3.5 G.5)."""
DicomSource = Path | str | bytes | bytearray | memoryview | IO[bytes] | Dataset
"""A path, the content of a file, an open file, or a pydicom data set."""


def stream_of(source: DicomSource) -> Path | bytes:
    """The path of a source, or its content."""
    if isinstance(source, (Path, str)):
        return readable_file(source)
    if isinstance(source, Dataset):
        meta = getattr(source, "file_meta", None)
        if meta is None or "TransferSyntaxUID" not in meta:
            hint = "set its file_meta.TransferSyntaxUID"
            raise InputError("image", "has no transfer syntax", hint)
        buffer = io.BytesIO()
        with dicom_errors("image"):
            source.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    with dicom_errors("image"):
        if source.seekable():
            source.seek(0)
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        problem = f"is over {MAX_BYTES // 10**6} MB"
        raise InputError("image", problem, "give the path of the file")
    return content


def opened_stream(stream: Path | bytes) -> Any:
    """A header's stream as a binary file, to be closed by the caller."""
    return io.BytesIO(stream) if isinstance(stream, bytes) else stream.open("rb")


def stream_size(stream: Path | bytes) -> int:
    """Bytes of a header's stream."""
    return len(stream) if isinstance(stream, bytes) else stream.stat().st_size


def count_frames(file: IO[bytes], most: int) -> int:
    """At least how many frames compressed pixel data holds, by its offset table and by its fragments (PS3.5 A.4).

    Without a table, the frames are not told apart: the header's number would join several, or leave some out.

    Args:
        file: at the first item.
        most: where to stop.
    """
    table = _next_item(file)
    if table is None:
        return 0
    listed = table // 4
    file.seek(table, 1)
    begun = 0
    while begun < most:
        length = _next_item(file)
        if length is None:
            break
        head = file.read(min(8, length))
        begun += head.startswith(_STARTS) or _begins_rle(head)
        file.seek(length - len(head), 1)
    return max(listed, begun)


def _next_item(file: IO[bytes]) -> int | None:
    """The length of the item that begins here; None if none does."""
    head = file.read(8)
    if len(head) < 8:
        return None
    *tag, length = struct.unpack("<HHI", head)
    return length if tuple(tag) == _ITEM else None


def _begins_rle(head: bytes) -> bool:
    """Whether a fragment begins with the header of an RLE frame: 1 to 15 segments, and where the first lies."""
    if len(head) < 8:
        return False
    segments, first = struct.unpack("<II", head)
    return bool(1 <= segments <= 15 and first == _RLE_FIRST)


def plain_stream(stream: Path | bytes, head: bytes, subject: str) -> Path | bytes:
    """The stream itself, or its content with a preamble, or inflated, if need be."""
    has_preamble = head[PREAMBLE:HEAD] == b"DICM"
    if not has_preamble:
        content = _content(stream, subject)
        if content[:2] == b"\x02\x00":
            return bytes(PREAMBLE) + b"DICM" + content
        return _meta(_guessed_syntax(head)) + content
    syntax, start = _read_meta(stream)
    if syntax != uid.DeflatedExplicitVRLittleEndian:
        return stream
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(_content(stream, subject)[start:], MAX_BYTES)
    if inflater.unconsumed_tail:
        problem = f"is over {MAX_BYTES // 10**6} MB when it is inflated"
        raise InputError(subject, problem, "export it without compression")
    return _meta(uid.ExplicitVRLittleEndian) + inflated


def _content(stream: Path | bytes, subject: str) -> bytes:
    if stream_size(stream) > MAX_BYTES:
        raise InputError(
            subject, f"is over {MAX_BYTES // 10**6} MB", "export it with a preamble"
        )
    return stream if isinstance(stream, bytes) else stream.read_bytes()


def _guessed_syntax(head: bytes) -> str:
    if not has_explicit_types(head):
        return str(uid.ImplicitVRLittleEndian)
    is_little = element_order(head) == "<"
    return str(uid.ExplicitVRLittleEndian if is_little else uid.ExplicitVRBigEndian)


def _meta(syntax: str) -> bytes:
    """A preamble and file meta information that says nothing but the transfer syntax."""
    value = syntax.encode()
    value += b"\0" * (len(value) % 2)
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(element))
    return bytes(PREAMBLE) + b"DICM" + length + element


def _read_meta(stream: Path | bytes) -> tuple[str, int]:
    """The transfer syntax of a file with a preamble ("" if it has none), and where its data set begins."""
    with opened_stream(stream) as file:
        file.seek(_META_START)
        content = file.read(1 << 16)
    syntax, place = "", 0
    while place + 8 <= len(content):
        group, element, kind, length = struct.unpack_from("<HH2sH", content, place)
        if group != 2:
            break
        place += 8
        if kind in _LONG_TYPES:
            (length,) = struct.unpack_from("<I", content, place)
            place += 4
        if element == 0x10:
            syntax = (
                content[place : place + length]
                .rstrip(b"\0 ")
                .decode("ascii", "replace")
            )
        place += length
    return syntax, _META_START + place
