"""The files of an archive. They are listed into files, and never held in memory together."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.paths import CLIP_SUFFIXES, IMAGE_SUFFIXES, is_input
from sonoseg.errors import InputError
from sonoseg.files import atomic_path, is_there


def add_list(archive: Path, out: Path) -> int:
    """Lists the files that may be images and that no earlier list has. The list is written only if there are any.

    A file that was changed since is listed again.

    Args:
        archive: a folder.
        out: the folder of the lists; it is left out if it is in the archive. A list has one JSON array a line: the
            name of a file, relative to the archive, its size in bytes, and the time of its last change in nanoseconds.

    Returns:
        how many lines all lists have.

    Raises:
        InputError: a folder cannot be listed, or the list cannot be written.
    """
    earlier = lists_in(out)
    known = np.sort(np.fromiter(map(_mark, _lines(earlier)), "S16"))
    target = out / (f"files-{len(earlier)}.txt" if earlier else "files.txt")
    added = 0
    with (
        atomic_path(target) as temporary,
        temporary.open("w", encoding="ascii") as file,
    ):
        for path in files_below(archive, os.path.realpath(out)):
            entry = (os.path.relpath(path, archive), *_version(path))
            line = json.dumps(entry) + "\n"
            if not _is_in(_mark(line), known):
                file.write(line)
                added += 1
    if not added:
        target.unlink()
    return len(known) + added


def lists_in(out: Path) -> list[Path]:
    """The lists of a folder of results, the first one first: files.txt, files-1.txt, files-2.txt …"""
    names = itertools.chain(
        ["files.txt"], (f"files-{number}.txt" for number in itertools.count(1))
    )
    return list(itertools.takewhile(is_there, (out / name for name in names)))


def read_lists(out: Path, size: int) -> Iterator[tuple[str, ...]]:
    """Yields the names of all lists, `size` at a time, never of two lists together."""
    for target in lists_in(out):
        names = names_in([target])
        while shard := tuple(itertools.islice(names, size)):
            yield shard


def names_in(lists: Sequence[Path]) -> Iterator[str]:
    """Yields the names of some lists."""
    for line in _lines(lists):
        yield json.loads(line)[0]


def _version(path: str) -> tuple[int, int]:
    """Size and time of the last change of a file; zeros if it has just been removed."""
    try:
        status = Path(path).stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def _lines(lists: Sequence[Path]) -> Iterator[str]:
    for target in lists:
        with target.open(encoding="ascii") as file:
            yield from file


def _mark(line: str) -> bytes:
    """16 bytes in place of a line: a million of them fit into 16 MB."""
    # The last byte is never zero: NumPy drops zeros at the end, and would not know one mark in 256 again.
    return hashlib.blake2b(line.encode(), digest_size=15).digest() + b"."


def _is_in(mark: bytes, known: NDArray[np.bytes_]) -> bool:
    """Whether a mark is among sorted ones."""
    place = int(np.searchsorted(known, np.bytes_(mark)))
    return place < len(known) and bool(known[place] == np.bytes_(mark))


def files_below(folder: Path | str, without: str) -> Iterator[str]:
    """Yields the paths of all files that may be images, in the order of the disk.

    Pictures are known by their names. Any other file may be DICOM: its content shows that later. Hidden files, videos,
    DICOMDIR, masks and overlays are left out. Links to folders are not followed.

    Raises:
        InputError: a folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    if os.path.realpath(entry.path) != without:
                        yield from files_below(entry.path, without)
                elif may_be_image(Path(entry.name)) and entry.is_file():
                    yield entry.path
    except OSError as error:
        hint = "change its permissions, or give another folder"
        problem = f"cannot be listed ({error.strerror})"
        raise InputError(folder, problem, hint) from error


def may_be_image(name: Path) -> bool:
    """Whether a file of this name is a picture, or something that may be DICOM."""
    ending = name.suffix.lower()
    if ending in IMAGE_SUFFIXES:
        return is_input(name, IMAGE_SUFFIXES)
    return ending not in CLIP_SUFFIXES and name.name.upper() != "DICOMDIR"
