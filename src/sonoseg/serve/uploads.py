"""Puts images that a browser sends into the folder, under plain names, without replacing any."""

from __future__ import annotations

import re
from pathlib import Path

from sonoseg.core.paths import is_clip
from sonoseg.core.source import opened
from sonoseg.dicom.recognise import is_dicom
from sonoseg.errors import InputError
from sonoseg.files import atomic_path
from sonoseg.serve.answer import read_upload
from sonoseg.serve.dicom_answer import read_dicom_upload
from sonoseg.serve.limits import Limits

_SUFFIXES = {
    "PNG": ".png",
    "JPEG": ".jpg",
    "TIFF": ".tif",
    "BMP": ".bmp",
    "MPO": ".jpg",
}


def plain_name(name: str) -> str:
    """A stem of plain letters and digits, made of the name that a client gives an image."""
    last = re.split(r"[\\/]", name)[-1]
    words = re.sub(r"[^A-Za-z0-9_-]+", "_", last.rpartition(".")[0])
    # Names that end so are those of results, which are not listed.
    own = re.sub(r"_(mask(_?\d+)?|overlay|heat)$", "", words[:80], flags=re.I)
    return own.strip("_") or "image"


def check_upload(name: str, content: bytes, limits: Limits) -> str:
    """The suffix for a file that was sent.

    Raises:
        InputError: it is no image, and no video by its name.
    """
    if is_dicom(content):
        read_dicom_upload(content, limits)
        return ".dcm"
    if is_clip(Path(name)):  # whether it can be read shows when it is opened
        return Path(name).suffix.lower()
    read_upload(content, limits)
    with opened(content) as (header, _):
        return _SUFFIXES.get(header.format or "", ".png")


def write_upload(
    folder: Path, stem: str, suffix: str, taken: set[str], content: bytes
) -> Path:
    """Writes a file; returns its path, whose stem is in none of `taken` (case-folded).

    Raises:
        InputError: the folder cannot be written to.
    """
    number, free = 1, stem
    while free.casefold() in taken:
        number += 1
        free = f"{stem}-{number}"
    path = folder / f"{free}{suffix}"
    if len(path.name.encode()) > 255:
        raise InputError("name", "is too long", "give the file a shorter name")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path
