"""A plain data set: images/ and masks/ with the same names, and labels.csv if more is known."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sonoseg.core.image import SPACINGS, parse_spacing
from sonoseg.core.measure import Spacing
from sonoseg.data.busi import join_copies
from sonoseg.data.case import LABELS, Case
from sonoseg.data.scan import (
    Finding,
    Scan,
    duplicate_names,
    entries,
    images_in,
    mask_stem,
    name_key,
    read_table,
    subfolder,
)
from sonoseg.errors import InputError

TABLE = "labels.csv"
COLUMNS = ("label", "group", "spacing", "diameters")
_LIKE_TABLE = re.compile(
    r"labels?(\.csv)?\.(csv|tsv|txt|xls|xlsx|ods|json)", re.IGNORECASE
)


@dataclass(frozen=True)
class Known:
    """What labels.csv says of an image.

    Attributes:
        label: one of `LABELS`.
        group: patient, or ""; groups that look the same are written in the same way.
        spacing: mm per pixel, one number, or (row, column); None if it is not known.
    """

    label: str = "unknown"
    group: str = ""
    spacing: float | Spacing | None = None


def find_folder(folder: Path) -> Path | None:
    """`folder` if it has images/ and masks/; otherwise None."""
    return (
        folder if subfolder(folder, "images") and subfolder(folder, "masks") else None
    )


def scan_folder(root: Path) -> Scan:
    """Pairs images/STEM.* with masks/STEM.*, masks/STEM_mask.*, masks/STEM_mask_1.*, … whatever the case of letters.

    labels.csv, which may be missing, has the column `file` (the image's file name) and any of `label`, `group`
    (patient), `spacing` (mm per pixel; two numbers are that of rows and of columns) and `diameters` (of the lesions,
    as `sonoseg serve` writes them; not read). Where it has no value, the label is "unknown" and the spacing None; an
    image without a row is a finding. Without any group, each image is a group of its own, except for the near-copies
    of BUSI; if only some have one, that is a finding. Groups that differ in case or in blanks are one. The cases are
    ordered by file name.

    Raises:
        InputError: labels.csv is malformed, has an unknown label, or a spacing that is not a pixel size.
    """
    images = images_in(subfolder(root, "images"))
    masks = images_in(subfolder(root, "masks"))
    rows, findings = read_labels(root)
    scan = Scan(root, [], [*duplicate_names(root, images), *findings])
    has_table = _find_table(root) is not None
    has_groups = any(row.group for row in rows.values())
    own = _masks_of(images, masks, scan)
    for path in images:
        found = tuple(own.get(name_key(path.stem), ()))
        if not found:
            scan.add("image without mask", path, "there is no mask for it")
        row = rows.pop(unicodedata.normalize("NFC", path.name), None)
        known = row or Known()
        if has_table and row is None:
            scan.add("image without row", path, f"{TABLE} has no row for it")
        elif has_groups and not known.group:
            scan.add(
                "image without group",
                path,
                f"{TABLE} names no group (patient) for it, but for others",
            )
        scan.cases.append(
            Case(
                path.name,
                path,
                found,
                known.label,
                known.group or path.name,
                known.spacing,
            )
        )
    if not has_groups:
        scan.cases[:] = join_copies(root, scan.cases)
    for name in rows:
        message = f"{TABLE} has a row for it, but it is not there, or hidden"
        scan.findings.append(Finding("row without image", (f"images/{name}",), message))
    return scan


def read_labels(root: Path) -> tuple[dict[str, Known], list[Finding]]:
    """What labels.csv in `root` says of each image, by its file name as NFC; and the columns that are not known.

    Raises:
        InputError: as `scan_folder`; there are two tables, or one of a kind that is not read.
    """
    path = _find_table(root)
    if path is None:
        return {}, []
    findings = []
    known: dict[str, Known] = {}
    groups: dict[str, str] = {}
    rows = read_table(path, ("file",), COLUMNS)
    for column in rows[0] if rows else ():
        if column not in ("file", *COLUMNS):
            message = f"has the column {column}, which is not known"
            findings.append(Finding("unknown column", (path.name,), message))
    for row in rows:
        name = unicodedata.normalize("NFC", row["file"])
        label = (row.get("label") or "unknown").casefold()
        if not name:
            raise InputError(
                path, "has a row without a file", "name its image, or remove the row"
            )
        if name in known:
            raise InputError(path, f"has two rows for {name}", "keep one of them")
        if label not in LABELS:
            raise InputError(
                path,
                f"has the unknown label {label} for {name}",
                f"use one of {', '.join(LABELS)}",
            )
        group = row.get("group", "")
        group = groups.setdefault(_group_key(group), group)  # as it is first written
        known[name] = Known(label, group, _spacing(path, name, row.get("spacing", "")))
    return known, findings


def _masks_of(
    images: Sequence[Path], masks: Sequence[Path], scan: Scan
) -> dict[str, list[Path]]:
    """The masks of each image by the `name_key` of its name without ending; notes masks that are of none."""
    stems = {name_key(path.stem) for path in images}
    own: dict[str, list[Path]] = {}
    for path in masks:
        stem = name_key(path.stem)
        if stem not in stems:
            stem = name_key(mask_stem(path) or "")
        if stem in stems:
            own.setdefault(stem, []).append(path)
        else:
            scan.add("mask without image", path, "there is no image for it")
    return own


def _find_table(root: Path) -> Path | None:
    """labels.csv in `root`, whatever the case of its letters.

    Raises:
        InputError: there are two, or one of another kind, such as labels.xlsx, that would not be read.
    """
    found = [path for path in entries(root) if _LIKE_TABLE.fullmatch(path.name)]
    tables = [path for path in found if path.name.casefold() == TABLE]
    for path in found:
        if path not in tables:
            raise InputError(
                path,
                f"is not read, only {TABLE} is",
                f"save it as {TABLE}, or move it elsewhere",
            )
    if len(tables) > 1:
        raise InputError(
            tables[0], f"there is also {tables[1].name}", "keep one of them"
        )
    return tables[0] if tables else None


def _group_key(group: str) -> str:
    """What the name of a group has in common with one that looks the same: no case, no hidden or double blanks."""
    normal = unicodedata.normalize("NFKC", group)
    seen = "".join(sign for sign in normal if unicodedata.category(sign) != "Cf")
    return " ".join(seen.casefold().split())


def _spacing(path: Path, name: str, text: str) -> float | Spacing | None:
    if not text:
        return None
    try:
        # A comma would be that of a decimal number.
        row, column = parse_spacing("nan" if "_" in text or "," in text else text)
    except InputError:
        lowest, highest = SPACINGS
        hint = f"give mm per pixel, from {lowest:g} to {highest:g}, for example 0.08"
        raise InputError(path, f"has the spacing {text} for {name}", hint) from None
    return row if row == column else (row, column)
