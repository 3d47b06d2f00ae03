"""Loads the cases of a data set, whichever of the known layouts its folder has."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path

from sonoseg.data.busbra import find_busbra, scan_busbra
from sonoseg.data.busi import find_busi, scan_busi
from sonoseg.data.case import Case
from sonoseg.data.dicom import find_dicom, scan_dicom
from sonoseg.data.folder import find_folder, scan_folder
from sonoseg.data.pack import is_pack, open_pack
from sonoseg.data.scan import Finding, Scan, entries
from sonoseg.data.unread import unread
from sonoseg.errors import InputError
from sonoseg.files import is_folder, is_there

_logger = logging.getLogger(__name__)
_HINTS = {
    "duplicate name": "rename all but one of them",
    "image without mask": "add the missing masks (empty where there is no lesion) or remove the images",
    "mask without image": "rename them as their images are named, with _mask at the end, or remove them",
    "several segmentations": "keep those of one reader",
    "row without image": "add the missing images, name each with its ending and without a folder, or remove the rows",
    "image without group": "name the group of each image, or of none",
    "image without row": "add the missing rows or remove the images",
    "not read": "remove the files that are no ultrasound images or segmentations",
    "unknown column": "name it label, group (of a patient) or spacing if it is one of these, or remove it",
}
_LEFT_OUT = ("class without images", "region without mask")
"""Kinds of findings with which a data set is loaded, and of which the log tells."""
_LAYOUTS = (
    "one with benign/, malignant/, normal/ (BUSI), bus_data.csv, Images/ (BUS-BRA), images/ and masks/, "
    "or DICOM images and segmentations"
)


_PICTURES = (
    (find_busi, scan_busi),
    (find_busbra, scan_busbra),
    (find_folder, scan_folder),
)
"""The layouts that are recognised by the names in the folder itself."""


def scan_pictures(folder: Path) -> Scan | None:
    """The data set of pictures that a folder is; None if it has no layout of these. No folder below is searched.

    Raises:
        InputError: its table is malformed.
    """
    for find, read in _PICTURES:
        root = find(folder)
        if root is not None:
            return read(root)
    return None


def scan(folder: Path | str) -> Scan:
    """Lists the cases of a data set, and the problems that its file names show. A pack is read whole.

    Of pictures none is read, except for a sample of those that are named as in BUSI: see `join_copies`.

    Raises:
        InputError: there is no such folder or pack, its layout is not known, it has no images, or its table is
            malformed.
    """
    folder = Path(folder)
    if is_pack(folder):
        return Scan(folder, open_pack(folder).cases(), [])
    if not is_folder(folder):
        problem = (
            "is a file, not a folder" if is_there(folder) else "there is no such folder"
        )
        raise InputError(
            folder,
            problem,
            "give the folder of a data set, or a pack of sonoseg data pack",
        )
    empty = None
    for find, read in (*_PICTURES, (find_dicom, scan_dicom)):
        root = find(folder)
        if root is not None:
            found = read(root)
            if found.cases:
                return found
            if empty is None or found.findings:
                empty = found  # images/ and masks/ may hold DICOM
    if empty is not None and empty.findings:
        return empty
    if empty is not None:
        raise InputError(
            empty.root, "there are no images in it", "give a folder with images"
        )
    problem = "the folder is empty"
    if entries(folder):
        problem = "is not a data set of a known layout"
    raise InputError(folder, problem, f"give {_LAYOUTS}")


def load_cases(folder: Path | str) -> list[Case]:
    """The cases of a data set: BUSI, BUS-BRA, a plain folder of images/ and masks/, or a pack of one of them.

    The order is fixed: by the path in the data set, compared as strings. Lines of the log name what is not read,
    such as a folder or a table beside those of the layout, the class folders of BUSI without images, and
    regions of DICOM images that nobody read.

    Raises:
        InputError: as `scan`; two images have one name; an image has no mask, or no row in the table; a mask has no
            image; a frame has segmentations of several readers; a column of the table is not known.
    """
    found = scan(folder)
    for kind, hint in _HINTS.items():
        findings = [finding for finding in found.findings if finding.kind == kind]
        if findings:
            path, problem = _summary(found, findings)
            raise InputError(path, problem, hint)
    left_out = [one for one in found.findings if one.kind in _LEFT_OUT]
    by_message: dict[str, list[Finding]] = {}
    for finding in (*left_out, *unread(found)):
        by_message.setdefault(finding.message, []).append(finding)
    for findings in by_message.values():
        path, problem = _summary(found, findings)
        _logger.warning("%s: %s; see sonoseg data check", path, problem)
    return found.cases


def _summary(found: Scan, findings: Sequence[Finding]) -> tuple[Path, str]:
    """The file of the first finding, its message, and how many more there are."""
    first, more = findings[0], len(findings) - 1
    problem = first.message + (f", and {more} more such" if more else "")
    return found.root / first.files[0], problem


def data_name(folder: Path | str) -> str:
    """The name of a data set in results: its folder's, also of "."; of a pack that of the folder it was made from."""
    if is_pack(folder):
        return open_pack(folder).source
    return Path(os.path.abspath(folder)).name  # noqa: PTH100  # a link keeps its name
