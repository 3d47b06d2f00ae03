"""Notes files in the folders of a data set that look like a part of it but are not read."""

from __future__ import annotations

import re
from pathlib import Path

from sonoseg.core.paths import IMAGE_SUFFIXES, is_input
from sonoseg.data.busbra import TABLE as BUSBRA_TABLE
from sonoseg.data.busi import CLASSES, find_busi
from sonoseg.data.dicom import DicomCase
from sonoseg.data.folder import TABLE
from sonoseg.data.scan import Finding, Scan, entries, subfolder
from sonoseg.dicom.recognise import files_below, is_dicom_file
from sonoseg.errors import InputError
from sonoseg.files import is_folder, is_there
from sonoseg.reader.outputs import RESULTS

_PICTURES = frozenset(
    (
        ".avif",
        ".dcm",
        ".dib",
        ".dicom",
        ".gif",
        ".gz",
        ".heic",
        ".ima",
        ".jp2",
        ".mat",
        ".mha",
        ".nii",
    )
)
_PICTURES |= {".npy", ".npz", ".nrrd", ".pgm", ".ppm", ".tga", ".webp", ".zip"}
_TABLES = frozenset((".csv", ".tsv", ".xls", ".xlsx", ".ods"))
_LIKE_TABLE = re.compile("label|patient|meta|clinic|annot|group|spacing", re.IGNORECASE)
_LIKE_FOLDER = re.compile(
    r"[\W_]*(benign|malignant|normal|images?|masks?)([\W_\d].*)?",
    re.IGNORECASE | re.DOTALL,
)
"""Names nearly as the layouts have them."""
_ACCEPTED = "annotations.csv"
"""Is in the folders in which `sonoseg serve` collects what a reader accepted."""


def note_unread(found: Scan) -> None:
    """Adds a finding for each file or folder that is not read, but looks like a part of the data set.

    These are, beside the images and the masks, folders and pictures of other formats; beside their folders, others of
    nearly the same names, and tables where none is read. In a folder of DICOM they are pictures, see
    `_note_beside_dicom`.
    """
    if not is_folder(found.root):  # a pack
        return
    if _is_dicom(found):
        _note_beside_dicom(found)
        return
    _note_inside(found)
    used = _used(found.root)
    others = [path for path in entries(found.root) if path not in used]
    names = {path.name.casefold() for path in others}
    has_table = find_busi(found.root) is None and bool(names & {TABLE, BUSBRA_TABLE})
    for path in others:
        if is_folder(path) and _LIKE_FOLDER.fullmatch(path.name):
            _note_folder(found, path)
        elif (
            path.suffix.lower() in _TABLES
            and _LIKE_TABLE.search(path.stem)
            and not has_table
        ):
            found.add(
                "not read",
                path,
                "is a table that is not read, so patients in it are not known",
            )


def unread_inside(found: Scan) -> list[Finding]:
    """The findings of `note_unread` beside the images and the masks themselves; none of a pack."""
    noted = Scan(found.root, [], [])
    if _is_dicom(found):
        _note_beside_dicom(noted)
    elif is_folder(found.root):
        _note_inside(noted)
    return noted.findings


def _is_dicom(found: Scan) -> bool:
    return any(isinstance(case, DicomCase) for case in found.cases)


def _note_beside_dicom(found: Scan) -> None:
    """Notes pictures at any depth, and files that are named as DICOM but are not.

    Those that sonoseg wrote into folders of results, or of what readers of its page accepted, belong there.
    """
    for path in files_below(found.root):
        suffix = path.suffix.lower().strip()
        is_picture = suffix in IMAGE_SUFFIXES | _PICTURES
        if is_picture and not is_dicom_file(path) and not _is_result(path, found.root):
            problem = "is not DICOM; beside DICOM images, only DICOM files are read"
            found.add("not read", path, problem)


def _is_result(path: Path, root: Path) -> bool:
    folders = [folder for folder in path.parents if folder.is_relative_to(root)]
    if any(is_there(folder / _ACCEPTED) for folder in folders):
        return True
    is_named_so = not is_input(path, IMAGE_SUFFIXES | _PICTURES)
    return is_named_so and is_there(path.parent / RESULTS)


def _note_inside(found: Scan) -> None:
    for folder in sorted(_used(found.root)):
        for path in entries(folder):
            if is_folder(path):
                _note_folder(found, path)
            elif _seems_wanted(path):
                found.add(
                    "not read",
                    path,
                    "its name does not end as those of PNG, JPEG, TIFF and BMP files",
                )


def _used(root: Path) -> set[Path]:
    """The folders of the known layouts that are there."""
    layouts = (subfolder(root, name) for name in (*CLASSES, "images", "masks"))
    return {folder for folder in layouts if folder is not None}


def _note_folder(found: Scan, folder: Path) -> None:
    try:
        is_empty = not entries(folder)
    except InputError:
        is_empty = False
    if not is_empty:
        found.add("not read", folder, "is a folder, and what is in it is not read")


def _seems_wanted(path: Path) -> bool:
    """Whether a file that is not read ends as pictures or tables do, or as an image but for a blank."""
    suffix = path.suffix.lower()
    return (
        suffix not in IMAGE_SUFFIXES
        and suffix.strip() in _PICTURES | _TABLES | IMAGE_SUFFIXES
    )
