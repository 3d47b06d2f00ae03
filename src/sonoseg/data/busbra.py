"""BUS-BRA: 1,875 breast-ultrasound images of 1,064 patients from Rio de Janeiro.

Gómez-Flores et al., Medical Physics 51 (2024) 3110.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from pathlib import Path

from sonoseg.data.case import Case
from sonoseg.data.pack import PackedCase
from sonoseg.data.scan import Scan, duplicate_names, images_in, read_table, subfolder
from sonoseg.errors import InputError
from sonoseg.files import is_there

_NAME = re.compile(r"bus_\d{4}-[a-z]")
_PATIENT = re.compile(r"patient \d+")
_logger = logging.getLogger(__name__)

TABLE = "bus_data.csv"
FOLDS = "5-fold-cv.csv"


def find_busbra(folder: Path) -> Path | None:
    """`folder` if it is laid out as BUS-BRA, with bus_data.csv and Images/; otherwise None."""
    return folder if is_there(folder / TABLE) and subfolder(folder, "Images") else None


def scan_busbra(root: Path) -> Scan:
    """Pairs Images/bus_XXXX.png with Masks/mask_XXXX.png; the patient is the group, the pathology the label.

    The cases are ordered by file name. BUS-BRA has no pixel spacing. Rows of bus_data.csv whose image is
    not there are passed over, so that a part of BUS-BRA can be used.

    Raises:
        InputError: bus_data.csv cannot be read, lacks a column, or has two rows or no patient for an image.
    """
    rows = _read_rows(root / TABLE)
    images = images_in(subfolder(root, "Images"))
    masks = images_in(subfolder(root, "Masks"))
    numbers = {path.stem.removeprefix("bus_") for path in images}
    scan = Scan(root, [], duplicate_names(root, images))
    masks_of: dict[str, list[Path]] = {}
    for path in masks:
        number = path.stem.removeprefix("mask_")
        if number not in numbers:
            scan.add("mask without image", path, "there is no image for it")
        masks_of.setdefault(number, []).append(path)
    for path in images:
        number = path.stem.removeprefix("bus_")
        own = tuple(masks_of.get(number, ()))
        if not own:
            scan.add("image without mask", path, "there is no mask for it")
        row = rows.get(path.stem)
        if row is None:
            scan.add(
                "image without row",
                path,
                f"{TABLE} has no row for it, so its patient is unknown",
            )
            continue
        pathology = row["Pathology"].casefold()
        label = pathology if pathology in ("benign", "malignant") else "unknown"
        scan.cases.append(Case(path.name, path, own, label, _group(row)))
    return scan


def is_busbra(case: Case) -> bool:
    """Whether a case is of BUS-BRA, by its name and group; also of a pack, or of a part of it."""
    is_named = _NAME.fullmatch(Path(case.name).stem)
    return bool(is_named) and bool(_PATIENT.fullmatch(case.group))


def patients_of(root: Path) -> dict[str, str]:
    """The group of each image that bus_data.csv names, by the image's name without ending.

    Raises:
        InputError: as `scan_busbra`.
    """
    rows = _read_rows(root / TABLE)
    return {stem: _group(row) for stem, row in rows.items()}


def _group(row: dict[str, str]) -> str:
    return f"patient {row['Case']}"


def _read_rows(path: Path) -> dict[str, dict[str, str]]:
    """The rows of bus_data.csv by image."""
    rows: dict[str, dict[str, str]] = {}
    for row in read_table(path, ("ID", "Case", "Pathology")):
        if row["ID"] in rows:
            raise InputError(path, f"has two rows for {row['ID']}", "keep one of them")
        if not row["Case"]:
            raise InputError(
                path, f"names no patient for {row['ID']}", "fill in the column Case"
            )
        rows[row["ID"]] = row
    return rows


@functools.cache
def warn_of_folds(problem: str) -> None:
    """Says once that folds are not those that BUS-BRA publishes."""
    _logger.warning("%s; grouped-K is not the published fold K", problem)


def official_folds(cases: Sequence[Case]) -> dict[str, int] | None:
    """BUS-BRA's own five folds by patient, 0 to 4 by case name; None if `cases` are not from BUS-BRA.

    A pack of BUS-BRA holds them itself. Where they are missing it returns None, too, and logs a warning: folds that are
    made instead have the same names, but other images.

    Raises:
        InputError: 5-fold-cv.csv does not hold every case, or no fold of 1 to 5 for it.
    """
    packed = [case for case in cases if isinstance(case, PackedCase)]
    if packed:
        own = {case.name: case.fold for case in packed if case.fold is not None}
        if len(own) == len(cases):
            return own
        if all(_NAME.match(case.name) for case in cases):
            warn_of_folds("the pack has no folds of BUS-BRA")
        return None
    roots = {case.image.parent.parent for case in cases}
    root = roots.pop()
    path = root / FOLDS
    if roots or find_busbra(root) is None:
        return None
    if not is_there(path):
        warn_of_folds(f"{path}: there is no such file")
        return None
    fold_of = {row["ID"]: row["kFold"] for row in read_table(path, ("ID", "kFold"))}
    folds = {}
    for case in cases:
        fold = fold_of.get(case.image.stem, "")
        if fold not in ("1", "2", "3", "4", "5"):
            raise InputError(
                path,
                f"has no fold from 1 to 5 for {case.name}",
                "download the published file",
            )
        folds[case.name] = int(fold) - 1
    return folds
