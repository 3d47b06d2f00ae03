"""The checksum inside a bundle. It shows damage and changes; it does not show who made the file."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import BinaryIO

from sonoseg.errors import InputError

CHECKSUM_KEY, CHECKSUM_MARK = "sonoseg.sha256", "sonoseg-sha256:"
_DIGITS = 64
_PATTERN = re.compile(re.escape(CHECKSUM_MARK.encode()) + rb"[0-9a-f]{64}")
_LENGTH = len(CHECKSUM_MARK) + _DIGITS
_MAX_BYTES = 2**31  # no ONNX file is larger
_ONNX_START = b"\x08"  # the field ir_version, which every writer of ONNX writes first
_CHUNK = 1 << 20
HINT = "give a bundle made by sonoseg export"


def add_checksum(content: bytes) -> bytes:
    """Fills in the checksum of a bundle: the sha256 of the file with the checksum's own 64 hex digits set to zeros.

    Args:
        content: an ONNX file whose metadata has `CHECKSUM_KEY` = `CHECKSUM_MARK` and any 64 hex digits.

    Raises:
        ValueError: no such mark, or more than one.
    """
    marks = list(_PATTERN.finditer(content))
    if len(marks) != 1:
        raise ValueError(f"{len(marks)} checksum marks instead of one")
    end = marks[0].end()
    empty = content[: end - _DIGITS] + b"0" * _DIGITS + content[end:]
    return (
        empty[: end - _DIGITS]
        + hashlib.sha256(empty).hexdigest().encode()
        + empty[end:]
    )


def read_checked(path: Path) -> tuple[bytes, str]:
    """Reads a file and verifies its checksum.

    Until the checksum is known to be correct, the file is read in small pieces: a large file that is no bundle must not
    fill the memory.

    Returns:
        The content, and the checksum's 64 hex digits.

    Raises:
        InputError: not a bundle, altered or damaged, or the disk cannot read it.
    """
    try:
        with path.open("rb") as file:
            if (
                os.fstat(file.fileno()).st_size >= _MAX_BYTES
                or file.read(1) != _ONNX_START
            ):
                raise InputError(path, "is not a sonoseg bundle", HINT)
            marks = _find_marks(file)
            if len(marks) != 1:
                raise InputError(path, "is not a sonoseg bundle", HINT)
            place = marks[0] + len(CHECKSUM_MARK)
            file.seek(place)
            stored = file.read(_DIGITS).decode()
            if stored != _sha256(file, place):
                problem = "has been altered or damaged since it was exported"
                raise InputError(path, problem, "copy or export it again")
            file.seek(0)
            return file.read(), stored
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        raise InputError(path, problem, "copy it to another disk") from error


def _find_marks(file: BinaryIO) -> list[int]:
    """The positions of the checksum's mark in the file; stops after the second one."""
    file.seek(0)
    marks: list[int] = []
    window, begin = (
        b"",
        0,
    )  # the bytes that are looked at, and the position of the first
    while len(marks) < 2 and (chunk := file.read(_CHUNK)):
        # A mark may lie across two pieces: the last bytes, too few for a mark of their own, are looked at again.
        tail = window[1 - _LENGTH :]
        begin += len(window) - len(tail)
        window = tail + chunk
        for match in _PATTERN.finditer(window):
            marks.append(begin + match.start())
    return marks


def _sha256(file: BinaryIO, place: int) -> str:
    """The sha256 of the whole file, with zeros for the digits at `place`."""
    sha = hashlib.sha256()
    file.seek(0)
    left = place
    while left and (chunk := file.read(min(_CHUNK, left))):
        sha.update(chunk)
        left -= len(chunk)
    sha.update(b"0" * _DIGITS)
    file.seek(place + _DIGITS)
    while chunk := file.read(_CHUNK):
        sha.update(chunk)
    return sha.hexdigest()
