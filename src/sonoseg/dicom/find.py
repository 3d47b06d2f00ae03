"""Sorts files and folders into DICOM and pictures. Needs no pydicom."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sonoseg.core.paths import (
    CLIP_SUFFIXES,
    DICOM_SUFFIXES,
    IMAGE_SUFFIXES,
    is_input,
)
from sonoseg.dicom.recognise import (
    direct_files,
    files_below,
    is_dicom_file,
    is_directory_file,
)
from sonoseg.files import is_folder


@dataclass(frozen=True)
class DicomPath:
    """A DICOM file.

    Attributes:
        path: the file.
        stem: what the names of its results begin with.
        is_named: whether the user named it; in a folder other modalities are passed over.
    """

    path: Path
    stem: str
    is_named: bool


@dataclass
class Found:
    """Files and folders, sorted.

    Attributes:
        dicom: each DICOM file once.
        pictures: pictures, videos, and folders in which there is no DICOM.
        skipped: how many files in folders with DICOM are neither, by their kind.
        pictures_below: pictures and videos in subfolders, which are left out.
        dicom_below: DICOM files in subfolders of folders with pictures, which are left out.
    """

    dicom: list[DicomPath] = field(default_factory=list)
    pictures: list[Path] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    pictures_below: list[Path] = field(default_factory=list)
    dicom_below: list[Path] = field(default_factory=list)


def find_files(paths: Iterable[Path | str]) -> Found:
    """Sorts files by their content, and looks through folders.

    Of a folder its own pictures and videos are taken, and DICOM files at any depth. A folder with pictures or videos
    and no DICOM beside them is not searched any deeper. Hidden files are left out. DICOMDIR and files of other kinds
    are counted; what is left out in subfolders, pictures or DICOM, is listed.
    """
    found = Found()
    seen: set[str] = set()
    for path in map(Path, paths):
        if is_folder(path):
            _search(path, found, seen)
        elif is_dicom_file(path):
            _add(found, seen, path, Path(path.name), is_named=True)
        else:
            found.pictures.append(path)
    taken = {os.path.realpath(path) for path in found.pictures}
    found.pictures_below = [
        path
        for path in found.pictures_below
        if taken.isdisjoint((os.path.realpath(path), os.path.realpath(path.parent)))
    ]
    found.dicom_below = [path for path in found.dicom_below if _place(path) not in seen]
    return found


def _search(folder: Path, found: Found, seen: set[str]) -> None:
    suffixes = IMAGE_SUFFIXES | CLIP_SUFFIXES
    direct = [path for path in direct_files(folder) if not is_directory_file(path)]
    dicom = {path for path in direct if is_dicom_file(path)}
    others = [path for path in direct if path not in dicom]
    pictures = [path for path in others if is_input(path, suffixes)]
    if pictures and not dicom:
        found.pictures.append(folder)
        _note_below(folder, found, suffixes)
        return
    skipped: Counter[str] = Counter()
    has_any = False
    below = []
    for path in files_below(folder):
        if is_directory_file(path):
            skipped["DICOMDIR"] += 1
        elif is_dicom_file(path):
            has_any = True
            _add(found, seen, path, path.relative_to(folder), is_named=False)
        elif path.parent != folder and is_input(path, suffixes):
            below.append(path)
        elif path not in pictures:
            skipped["no DICOM"] += 1
    if has_any:
        found.pictures += pictures
        found.skipped += skipped
        found.pictures_below += below
    else:
        found.pictures.append(folder)


def _note_below(folder: Path, found: Found, suffixes: frozenset[str]) -> None:
    """Lists what is in the subfolders of a folder of pictures; files with the names of pictures are not opened."""
    for path in files_below(folder):
        if path.parent == folder or is_directory_file(path):
            continue
        if path.suffix.lower() in suffixes:
            if is_input(path, suffixes):
                found.pictures_below.append(path)
        elif is_dicom_file(path):
            found.dicom_below.append(path)


def _place(path: Path) -> str:
    # Links to folders are followed, not links to files, as in `list_images`.
    return str(Path(os.path.realpath(path.parent)) / path.name)


def _add(found: Found, seen: set[str], path: Path, name: Path, is_named: bool) -> None:
    place = _place(path)
    if place not in seen:
        seen.add(place)
        found.dicom.append(DicomPath(path, stem_of(name), is_named))


def stem_of(path: Path) -> str:
    """The path in one word, without a DICOM ending; other dots belong to the name, as in UIDs."""
    is_ending = path.suffix.lower() in DICOM_SUFFIXES
    bare = path.with_suffix("") if is_ending else path
    return "_".join(bare.parts)
