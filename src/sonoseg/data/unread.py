"""Notes files in the folders of a data set that look like a part of it but are not read."""

from __future__ import annotations

import re
from pathlib import Path

from sonoseg.core.paths import DICOM_SUFFIXES, IMAGE_SUFFIXES, is_input
from sonoseg.data.busbra import TABLE as BUSBRA_TABLE
from sonoseg.data.busi import CLASSES, find_busi
from sonoseg.data.dicom import DicomCase
from sonoseg.data.folder import TABLE
from sonoseg.data.scan import Finding, Scan, entries, subfolder
from sonoseg.dicom.recognise import files_below, is_dicom_file
from sonoseg.errors import InputError
from sonoseg.files import is_file, is_folder, is_there
from sonoseg.reader.outputs import RESULTS

_PICTURES = DICOM_SUFFIXES | {
    ".avif",
    ".dib",
    ".gif",
    ".gz",
    ".heic",
    ".jp2",
    ".mat",
    ".mha",
    ".nii",
    ".npy",
    ".npz",
    ".nrrd",
    ".pgm",
    ".ppm",
    ".tga",
    ".webp",
    ".zip",
}
_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"II*\0", b"MM\0*")
"""The first bytes of PNG, JPEG and TIFF files."""
_TABLES = frozenset((".csv", ".tsv", ".xls", ".xlsx", ".ods"))
_LIKE_TABLE = re.compile("label|patient|meta|clinic|annot|group|spacing", re.IGNORECASE)
_LIKE_FOLDER = re.compile(
    r"[\W_]*(benign|malignant|normal|images?|masks?)([\W_\d].*)?",
    re.IGNORECASE | re.DOTALL,
)
"""Names nearly as the layouts have them."""
_ACCEPTED = "annotations.csv"
"""Is in the folders in which `sonoseg serve` collects what a reader accepted."""
_KEPT = ("dicom", "replaced")
"""Folders beside it: SEG and SR, and earlier work."""
_WRITTEN = frozenset(
    (
        "best.safetensors",
        "faithfulness.json",
        "last.ckpt",
        "metrics.json",
        RESULTS,
        "session.db",
    )
)
"""Files by which a folder is known that sonoseg writes: a run, scores, segmentations, or what readers drew."""


def note_unread(found: Scan) -> None:
    """Adds the findings of `unread`."""
    found.findings.extend(unread(found))


def unread(found: Scan) -> list[Finding]:
    """A finding for each file or folder that is not read, but looks like a part of the data set. None of a pack.

    These are, beside the images and the masks, folders, tables, and pictures of other formats and DICOM, also without
    an ending; beside their folders, images, folders with images or of nearly the same names, and tables where none is
    read. In a folder of DICOM they are pictures and tables, see `_note_beside_dicom`. What sonoseg writes is passed
    over.
    """
    noted = Scan(found.root, [], [])
    if _is_dicom(found):
        _note_beside_dicom(noted)
    elif is_folder(found.root):
        is_busi = _is_busi(found)
        used = _used(found.root, is_busi)
        others = [path for path in entries(found.root) if path not in used]
        _note_inside(noted, used)
        _note_beside_folders(noted, others)
        names = {path.name.casefold() for path in others}
        if is_busi or not names & {TABLE, BUSBRA_TABLE}:
            for path in others:
                _note_table(noted, path)
    return noted.findings


def _is_dicom(found: Scan) -> bool:
    return any(isinstance(case, DicomCase) for case in found.cases)


def _is_busi(found: Scan) -> bool:
    """Whether the images were found in class folders: an empty one may lie beside images/ and masks/."""
    folders = {case.image.parent.name.casefold() for case in found.cases}
    return bool(folders & set(CLASSES)) if folders else bool(find_busi(found.root))


def _note_table(found: Scan, path: Path) -> None:
    if path.suffix.lower() in _TABLES and _LIKE_TABLE.search(path.stem):
        problem = "is a table that is not read, so labels, patients and spacings in it are not known"
        found.add("not read", path, problem)


def _note_beside_folders(found: Scan, others: list[Path]) -> None:
    for path in others:
        if _is_image(path):
            problem = "lies in none of the folders, so it is not read"
            found.add("not read", path, problem)
        elif is_folder(path) and (
            _LIKE_FOLDER.fullmatch(path.name) or _has_images(path)
        ):
            _note_folder(found, path)


def _note_beside_dicom(found: Scan) -> None:
    """Notes pictures and tables at any depth, and files that are named as DICOM but are not.

    Those that sonoseg wrote into folders of results, or of what readers of its page accepted, belong there.
    """
    for path in files_below(found.root):
        suffix = path.suffix.lower().strip()
        if suffix not in IMAGE_SUFFIXES | _PICTURES | _TABLES:
            continue
        if is_dicom_file(path) or _is_result(path, found.root):
            continue
        if suffix in _TABLES:
            _note_table(found, path)
        else:
            problem = "is not DICOM; beside DICOM images, only DICOM files are read"
            found.add("not read", path, problem)


def _is_result(path: Path, root: Path) -> bool:
    folders = [folder for folder in path.parents if folder.is_relative_to(root)]
    if any(is_there(folder / _ACCEPTED) for folder in folders):
        return True
    is_named_so = not is_input(path, IMAGE_SUFFIXES | _PICTURES)
    return is_named_so and is_there(path.parent / RESULTS)


def _note_inside(found: Scan, used: set[Path]) -> None:
    for folder in sorted(used):
        for path in entries(folder):
            if is_folder(path):
                _note_folder(found, path)
            elif _seems_wanted(path):
                problem = (
                    "its name does not end as those of PNG, JPEG, TIFF and BMP files"
                )
                if is_dicom_file(path):
                    problem = "is DICOM, which is not read beside pictures"
                found.add("not read", path, problem)


def _used(root: Path, is_busi: bool) -> set[Path]:
    """The folders of the layout that are there."""
    names = CLASSES if is_busi else ("images", "masks")
    layout = (subfolder(root, name) for name in names)
    return {folder for folder in layout if folder is not None}


def _note_folder(found: Scan, folder: Path) -> None:
    inside = _entries(folder)
    if inside is None or (inside and not _is_written(folder, inside)):
        found.add("not read", folder, "is a folder, and what is in it is not read")


def _has_images(folder: Path, levels: int = 3) -> bool:
    """Whether there are images in a folder, or in folders in it, down to a number of levels."""
    inside = _entries(folder) or []
    if _is_written(folder, inside):
        return False
    if any(_is_image(path) for path in inside):
        return True
    folders = [path for path in inside if is_folder(path)]
    return levels > 1 and any(_has_images(path, levels - 1) for path in folders)


def _is_image(path: Path) -> bool:
    """Whether a file has the name of an image, and not that of one which sonoseg writes; or is one without an ending.

    What ends as other kinds of files do is not opened: a folder may have very many.
    """
    suffix = path.suffix.lower()
    if suffix in DICOM_SUFFIXES or not suffix[1:].isalpha():
        return _is_by_content(path)
    is_named = is_input(path, IMAGE_SUFFIXES) and not path.stem.endswith("_explained")
    return is_named and not is_folder(path)


def _is_by_content(path: Path) -> bool:
    """Whether a file begins as DICOM, PNG, JPEG and TIFF files do. Scanners write them without an ending."""
    if is_dicom_file(path):
        return True
    try:
        if not is_file(path):
            return False
        with path.open("rb") as file:
            return file.read(4).startswith(_STARTS)
    except (OSError, InputError):
        return False


def _entries(folder: Path) -> list[Path] | None:
    """What is in a folder, hidden files left out; None if it cannot be listed."""
    try:
        return entries(folder)
    except InputError:
        return None


def _is_written(folder: Path, inside: list[Path]) -> bool:
    """Whether sonoseg writes a folder, such as what it keeps beside the images that a reader accepted on the page."""
    if folder.name in _KEPT and is_there(folder.parent / _ACCEPTED):
        return True
    return any(path.name in _WRITTEN for path in inside)


def _seems_wanted(path: Path) -> bool:
    """Whether a file that is not read ends as pictures or tables do, or as an image but for a blank, or is one."""
    suffix = path.suffix.lower()
    if suffix in IMAGE_SUFFIXES:
        return False
    return suffix.strip() in _PICTURES | _TABLES | IMAGE_SUFFIXES or _is_by_content(
        path
    )
