"""The files of an archive. They are listed once, into a file, and never held in memory together."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path

from sonoseg.core.paths import CLIP_SUFFIXES, IMAGE_SUFFIXES, is_input
from sonoseg.errors import InputError
from sonoseg.files import atomic_path


def write_list(archive: Path, without: Path, target: Path) -> int:
    """Writes the names of all files that may be images, one JSON string a line, relative to the archive.

    Args:
        archive: a folder.
        without: a folder that is left out, if it is in the archive.
        target: the file to write.

    Returns:
        how many there are.

    Raises:
        InputError: a folder cannot be listed, or the file cannot be written.
    """
    count = 0
    with (
        atomic_path(target) as temporary,
        temporary.open("w", encoding="ascii") as file,
    ):
        for path in files_below(archive, os.path.realpath(without)):
            file.write(json.dumps(os.path.relpath(path, archive)) + "\n")
            count += 1
    return count


def read_list(target: Path, size: int) -> Iterator[tuple[str, ...]]:
    """Yields the names that `write_list` has written, `size` at a time."""
    with target.open(encoding="ascii") as file:
        names = map(json.loads, file)
        while shard := tuple(itertools.islice(names, size)):
            yield shard


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
