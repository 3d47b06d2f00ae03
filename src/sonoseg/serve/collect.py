"""Writes what a reader accepted as a data set: images/, masks/ and labels.csv, and annotations.csv with the rest."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import shutil
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from sonoseg.core.decode import orientation
from sonoseg.core.image import Image, parse_spacing
from sonoseg.dicom.recognise import is_dicom_file
from sonoseg.files import atomic_files, atomic_path, output_folder, write_text
from sonoseg.inputs import guard_cell
from sonoseg.serve.journal import Accepted
from sonoseg.serve.lexicon import DESCRIPTORS, split_descriptors
from sonoseg.serve.patch import Mask
from sonoseg.serve.scans import stem_of

_IN_TABLE = {"uncertain": "unknown"}
"""What labels.csv calls a label."""


def folder_name(reader: str) -> str:
    """The name of a reader's folder: small letters, digits, - and _; different for different readers."""
    plain = re.sub("[^a-z0-9_-]+", "_", reader.lower())
    if plain == reader:
        return plain
    return f"{plain}-{hashlib.sha256(reader.encode()).hexdigest()[:6]}"


def collected_name(path: Path) -> str:
    """The name of an image in the data set. One that EXIF turns is written upright, as PNG; so is DICOM."""
    return path.name if _is_copied(path) else f"{stem_of(path)}.png"


def _is_copied(path: Path) -> bool:
    return not is_dicom_file(path) and orientation(path) == 1


def write_accepted(
    folder: Path,
    path: Path,
    image: Image,
    mask: Mask,
    accepted: Sequence[Accepted],
    reader: str,
) -> None:
    """Writes one accepted image with its mask, and the tables of all; all files appear together.

    Args:
        folder: of the reader, made if need be.
        path: the image's file; copied as it is unless EXIF turns it, or it is DICOM.
        image: as it was read from there.
        mask: (H, W) bool.
        accepted: all that the reader has accepted, this image included.
        reader: who accepted them.

    Raises:
        InputError: the folder cannot be written to.
    """
    images, masks = output_folder(folder / "images"), output_folder(folder / "masks")
    name = collected_name(path)
    with atomic_files():
        with atomic_path(images / name) as temporary:
            if _is_copied(path):
                shutil.copyfile(path, temporary)
            else:
                Picture.fromarray(image.pixels).save(temporary, "PNG")
        with atomic_path(masks / f"{stem_of(path)}.png") as temporary:
            Picture.fromarray(mask.astype(np.uint8) * 255).save(temporary, "PNG")
        write_text(folder / "labels.csv", _labels(accepted))
        write_text(folder / "annotations.csv", _annotations(accepted, reader))


def _labels(accepted: Iterable[Accepted]) -> str:
    rows = [["file", "label", "spacing"]]
    for one in sorted(accepted, key=lambda each: each.file):
        label = _IN_TABLE.get(one.finding.label, one.finding.label)
        rows.append([one.file, label, _square_spacing(one.finding.spacing)])
    return _table(rows)


def _annotations(accepted: Iterable[Accepted], reader: str) -> str:
    rows = [["file", "label", "birads", *DESCRIPTORS, "note", "reader", "accepted"]]
    for one in sorted(accepted, key=lambda each: each.file):
        finding = one.finding
        when = datetime.fromtimestamp(one.time, UTC).isoformat(timespec="seconds")
        chosen = split_descriptors(finding.descriptors)
        row = [one.file, finding.label, finding.birads]
        row += [chosen.get(name, "") for name in DESCRIPTORS]
        row += [finding.note, reader, when]
        rows.append(row)
    return _table(rows)


def _square_spacing(spacing: str) -> str:
    """The size of a pixel for labels.csv, which knows square pixels only; "" for others."""
    if not spacing:
        return ""
    row, column = parse_spacing(spacing)
    return str(row) if row == column else ""


def _table(rows: list[list[str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow([guard_cell(cell) for cell in row])
    return file.getvalue()
