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
    """Adds a finding for each file or folder that is not read, but looks like a part of the data set.

    These are those of `unread_pictures`, and tables where none is read. None of a pack.
    """
    found.findings.extend(unread_pictures(found))
    if not is_folder(found.root) or _is_dicom(found):
        return
    others = _others(found.root)
    names = {path.name.casefold() for path in others}
    if find_busi(found.root) is None and names & {TABLE, BUSBRA_TABLE}:
        return
    for path in others:
        if path.suffix.lower() in _TABLES and _LIKE_TABLE.search(path.stem):
            found.add(
                "not read",
                path,
                "is a table that is not read, so patients in it are not known",
            )


def unread_pictures(found: Scan) -> list[Finding]:
    """A finding for each file or folder that is not read, but may hold images or masks. None of a pack.

    These are, beside the images and the masks, folders and pictures of other formats; beside their folders, images,
    folders with images, and folders of nearly the same names. In a folder of DICOM they are pictures, see
    `_note_beside_dicom`. What sonoseg writes is passed over.
    """
    noted = Scan(found.root, [], [])
    if _is_dicom(found):
        _note_beside_dicom(noted)
    elif is_folder(found.root):
        _note_inside(noted)
        _note_beside_folders(noted)
    return noted.findings


def _is_dicom(found: Scan) -> bool:
    return any(isinstance(case, DicomCase) for case in found.cases)


def _note_beside_folders(found: Scan) -> None:
    for path in _others(found.root):
        if _is_image(path):
            problem = "lies in none of the folders, so it is not read"
            found.add("not read", path, problem)
        elif is_folder(path) and (
            _LIKE_FOLDER.fullmatch(path.name) or _has_images(path)
        ):
            _note_folder(found, path)


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
    """The folders of the layout that are there."""
    names = ("images", "masks") if find_busi(root) is None else CLASSES
    layout = (subfolder(root, name) for name in names)
    return {folder for folder in layout if folder is not None}


def _others(root: Path) -> list[Path]:
    used = _used(root)
    return [path for path in entries(root) if path not in used]


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
    """Whether a file has the name of an image, and not that of one which sonoseg writes."""
    is_named = is_input(path, IMAGE_SUFFIXES) and not path.stem.endswith("_explained")
    return is_named and not is_folder(path)


def _entries(folder: Path) -> list[Path] | None:
    """What is in a folder, hidden files left out; None if it cannot be listed."""
    try:
        return entries(folder)
    except InputError:
        return None


def _is_written(folder: Path, inside: list[Path]) -> bool:
    """Whether sonoseg writes a folder. One of its names is `replaced`: earlier work of a reader on the page."""
    if folder.name == "replaced" and is_there(folder.parent / _ACCEPTED):
        return True
    return any(path.name in _WRITTEN for path in inside)


def _seems_wanted(path: Path) -> bool:
    """Whether a file that is not read ends as pictures or tables do, or as an image but for a blank."""
    suffix = path.suffix.lower()
    return (
        suffix not in IMAGE_SUFFIXES
        and suffix.strip() in _PICTURES | _TABLES | IMAGE_SUFFIXES
    )
