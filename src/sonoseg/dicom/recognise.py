"""Tells DICOM from other files by the first bytes of their content: scanners write files without an ending."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sonoseg.errors import InputError
from sonoseg.files import is_file

HEAD = 132
"""Bytes that `is_dicom` needs."""
PREAMBLE = 128
_TEXT_VRS = (
    b"UL",
    b"UI",
    b"OB",
    b"CS",
    b"DA",
    b"TM",
    b"SH",
    b"LO",
    b"DT",
    b"PN",
    b"ST",
)
_FIRST_GROUPS = (0x0002, 0x0008)
_MOST_LENGTH = 1 << 16


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` (at least 132 bytes if it has as many) is DICOM.

    A file has the preamble and the mark "DICM" (PS3.10 section 7.1). Old archives hold files without them: those
    are known by a first element of group 2 or 8 with a possible type and length.
    """
    if head[PREAMBLE:HEAD] == b"DICM":
        return True
    return element_order(head) is not None


def element_order(head: bytes) -> str | None:
    """The byte order ("<" or ">") of a file without preamble; None if it does not begin with a DICOM element."""
    if len(head) < 8:
        return None
    for order in ("<", ">"):
        group, element = struct.unpack(f"{order}HH", head[:4])
        if group in _FIRST_GROUPS and element < 0x0100 and _is_element(head, order):
            return order
    return None


def has_explicit_types(head: bytes) -> bool:
    """Whether the first element of a file without preamble says its type (explicit VR)."""
    return head[4:6] in _TEXT_VRS


def is_dicom_file(path: Path) -> bool:
    """Whether the file at `path` is DICOM; False if it cannot be read."""
    try:
        if not is_file(path):  # a pipe would be waited for
            return False
        with path.open("rb") as file:
            return is_dicom(file.read(HEAD))
    except (OSError, InputError):
        return False


def is_dicom_source(source: Any) -> bool:
    """Whether a source is DICOM: a path, bytes, an open file that can go back, or a pydicom data set. Never raises."""
    try:
        if isinstance(source, (str, os.PathLike)):
            return is_dicom_file(Path(os.fsdecode(source)))
        if isinstance(source, (bytes, bytearray, memoryview)):
            return is_dicom(bytes(source[:HEAD]))
        if hasattr(source, "read") and hasattr(source, "seekable"):
            return source.seekable() and is_dicom(_head(source))
    except (OSError, ValueError, TypeError):  # closed, or open as text
        return False
    return type(source).__module__.startswith("pydicom.")


def _head(file: Any) -> bytes:
    """The first bytes of an open file, which stays where it is."""
    place = file.tell()
    file.seek(0)
    head: bytes = file.read(HEAD)
    file.seek(place)
    return head if isinstance(head, bytes) else b""


def direct_files(folder: Path) -> Iterator[Path]:
    """What is in a folder, hidden files left out; nothing if it cannot be listed."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                yield path


def files_below(folder: Path) -> Iterator[Path]:
    """The files in a folder and below, in the order of their paths; hidden files and folders left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(place) / name


def is_directory_file(path: Path) -> bool:
    """Whether this is the table of contents of a medium with DICOM files (PS3.10 section 8)."""
    return path.name.upper() == "DICOMDIR"


def check_installed() -> None:
    """Makes sure that what reads and writes DICOM is installed.

    Raises:
        InputError: it is not.
    """
    if importlib.util.find_spec("pydicom") is None:
        problem = "pydicom is not installed"
        raise InputError(
            "DICOM", problem, "pip install '.[dicom]' in the source folder"
        )


def _is_element(head: bytes, order: str) -> bool:
    if has_explicit_types(head):
        return True
    (length,) = struct.unpack(f"{order}I", head[4:8])
    return order == "<" and bool(length < _MOST_LENGTH) and length % 2 == 0
