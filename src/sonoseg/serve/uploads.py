"""Puts images that a browser sends into the folder, under plain names, without replacing any."""

from __future__ import annotations

import re
from pathlib import Path

from sonoseg.core.paths import is_clip, stem_of
from sonoseg.core.source import opened
from sonoseg.data.scan import entries
from sonoseg.dicom.recognise import is_dicom
from sonoseg.errors import InputError
from sonoseg.files import atomic_path
from sonoseg.serve.answer import read_upload
from sonoseg.serve.dicom_answer import read_dicom_upload
from sonoseg.serve.limits import Limits
from sonoseg.serve.scenes import whole_stem

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
    own = re.sub(r"(_(mask(_?\d+)?|overlay|heat)?)+$", "", words[:80], flags=re.I)
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


def free_stem(folder: Path, stem: str) -> str:
    """`stem`, with a number behind it if need be: no file has it, also none that is not shown.

    It is not the name of a frame or a region of another file either, nor is the name of another that of its own.

    Raises:
        InputError: the folder cannot be listed.
    """
    # Upper and lower case are one name on many disks.
    taken = {stem_of(path).casefold() for path in entries(folder)}
    taken_or_whole = taken.union(map(whole_stem, taken))
    number, free = 1, stem
    while (own := free.casefold()) in taken_or_whole or whole_stem(own) in taken:
        number += 1
        free = f"{stem}-{number}"
    return free


def write_upload(folder: Path, stem: str, suffix: str, content: bytes) -> Path:
    """Writes a file; returns its path, whose stem is `free_stem`.

    Raises:
        InputError: the folder cannot be written to.
    """
    path = folder / f"{free_stem(folder, stem)}{suffix}"
    if len(path.name.encode()) > 255:
        raise InputError("name", "is too long", "give the file a shorter name")
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path
