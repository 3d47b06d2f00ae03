"""A plain data set: images/ and masks/ with the same names, and labels.csv if more is known."""

from __future__ import annotations

import math
from pathlib import Path

from sonoseg.data.case import LABELS, Case
from sonoseg.data.listing import Scan, duplicate_names, list_images, read_table
from sonoseg.errors import InputError

TABLE = "labels.csv"


def find_folder(folder: Path) -> Path | None:
    """`folder` if it has images/ and masks/; otherwise None."""
    return folder if (folder / "images").is_dir() and (folder / "masks").is_dir() else None


def scan_folder(root: Path) -> Scan:
    """Pairs images/STEM.* with masks/STEM.* or masks/STEM_mask.*.

    labels.csv, which may be missing, has the column `file` (the image's file name) and any of `label`,
    `group` (patient) and `spacing` (mm per pixel). What it does not tell is label "unknown", the image its
    own group, spacing None. The cases are ordered by file name.

    Raises:
        InputError: labels.csv is malformed, has an unknown label, or a spacing that is no positive number.
    """
    rows = _read_labels(root / TABLE) if (root / TABLE).exists() else {}
    images = list_images(root / "images")
    masks = list_images(root / "masks")
    scan = Scan(root, [], duplicate_names(root, images))
    stems = {path.stem for path in images}
    own: dict[str, list[Path]] = {}
    for path in masks:
        stem = path.stem if path.stem in stems else path.stem.removesuffix("_mask")
        if stem in stems:
            own.setdefault(stem, []).append(path)
        else:
            scan.add("mask without image", path, "there is no image for it")
    for path in images:
        found = tuple(own.get(path.stem, ()))
        if not found:
            scan.add("image without mask", path, "there is no mask for it")
        label, group, spacing = rows.pop(path.name, ("unknown", "", None))
        scan.cases.append(Case(path.name, path, found, label, group or path.name, spacing))
    for name in rows:
        scan.add("row without image", root / "images" / name, f"{TABLE} has a row for it, but it is not there")
    return scan


def _read_labels(path: Path) -> dict[str, tuple[str, str, float | None]]:
    rows: dict[str, tuple[str, str, float | None]] = {}
    for row in read_table(path, ("file",)):
        name, label = row["file"], row.get("label") or "unknown"
        if name in rows:
            raise InputError(path, f"has two rows for {name}", "keep one of them")
        if label not in LABELS:
            raise InputError(path, f"gives {name} the unknown label {label}", f"use one of {', '.join(LABELS)}")
        rows[name] = (label, row.get("group", ""), _spacing(path, name, row.get("spacing", "")))
    return rows


def _spacing(path: Path, name: str, text: str) -> float | None:
    if not text:
        return None
    try:
        spacing = float(text)
    except ValueError:
        spacing = math.nan
    if not 0 < spacing < math.inf:
        raise InputError(path, f"gives {name} the spacing {text}", "give a positive number of mm per pixel")
    return spacing
