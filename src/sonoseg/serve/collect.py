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
from sonoseg.core.image import Image, read_image
from sonoseg.files import (
    atomic_files,
    atomic_path,
    is_folder,
    is_there,
    output_folder,
    write_error,
    write_text,
)
from sonoseg.inputs import guard_cell
from sonoseg.serve.lexicon import DESCRIPTORS, split_descriptors
from sonoseg.serve.patch import Mask
from sonoseg.serve.records import Accepted
from sonoseg.serve.scenes import Shot

_IN_TABLE = {"uncertain": "unknown"}
"""What labels.csv calls a label."""


def folder_name(reader: str) -> str:
    """The name of a reader's folder: small letters, digits, - and _; different for different readers."""
    plain = re.sub("[^a-z0-9_-]+", "_", reader.lower())
    if plain == reader:
        return plain
    return f"{plain}-{hashlib.sha256(reader.encode()).hexdigest()[:6]}"


def collected_name(shot: Shot) -> str:
    """The name of an image in the data set. What is not copied is written as PNG: a frame, or what EXIF turns."""
    is_copied = _is_copied(shot)
    return f"{shot.stem}{shot.path.suffix if is_copied else '.png'}"


def mask_path(folder: Path, file: str) -> Path:
    """Where the mask of a collected image lies in a reader's folder."""
    return folder / "masks" / f"{Path(file).stem}.png"


def read_mask(folder: Path, file: str) -> Mask:
    """The mask (H, W) of a collected image.

    Raises:
        InputError: it cannot be read.
    """
    return read_image(mask_path(folder, file)).pixels > 127


def write_accepted(
    folder: Path,
    shot: Shot,
    image: Image,
    mask: Mask,
    accepted: Sequence[Accepted],
    reader: str,
) -> None:
    """Writes one accepted image with its mask, and the tables of all; all files appear together.

    Args:
        folder: of the reader, made if need be.
        shot: the image.
        image: as it was read; a plain picture's file is copied as it is, unless EXIF turns it.
        mask: (H, W) bool.
        accepted: all that the reader has accepted, this image included.
        reader: who accepted them.

    Raises:
        InputError: the folder cannot be written to.
    """
    images = output_folder(folder / "images")
    output_folder(folder / "masks")
    name = collected_name(shot)
    with atomic_files():
        with atomic_path(images / name) as temporary:
            if _is_copied(shot):
                shutil.copyfile(shot.path, temporary)
            else:
                Picture.fromarray(image.pixels).save(temporary, "PNG")
        with atomic_path(mask_path(folder, name)) as temporary:
            Picture.fromarray(mask.astype(np.uint8) * 255).save(temporary, "PNG")
        write_tables(folder, accepted, reader)


def remove_accepted(
    folder: Path, file: str, accepted: Sequence[Accepted], reader: str
) -> None:
    """Takes an image out of a data set.

    Args:
        folder: of the reader.
        file: its name there.
        accepted: all that is left.
        reader: whose they are.

    Raises:
        InputError: the folder cannot be written to.
    """
    if not is_folder(folder):
        return
    # The tables come first: data check names an image that they do not have, but not the other way round.
    write_tables(folder, accepted, reader)
    for path in (folder / "images" / file, mask_path(folder, file)):
        remove_file(path)


def remove_file(path: Path) -> None:
    """Removes a file, if it is there.

    Raises:
        InputError: its folder cannot be written to.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error


def move_accepted(folder: Path, target: Path, former: Sequence[Accepted]) -> None:
    """Moves images and masks into another folder. What is there no more was moved before.

    Args:
        folder: of the reader.
        target: made if need be; a data set of its own.
        former: what was accepted of the images.

    Raises:
        InputError: a folder cannot be written to.
    """
    for one in former:
        paths = (folder / "images" / one.file, mask_path(folder, one.file))
        for path in paths:
            move_file(path, target / path.parent.name)


def move_file(path: Path, folder: Path) -> None:
    """Moves a file into a folder, which is made if need be; nothing if there is no such file.

    Raises:
        InputError: the folder cannot be written to.
    """
    if not is_there(path):
        return
    try:
        path.replace(output_folder(folder) / path.name)
    except OSError as error:
        raise write_error(path, error) from error


def _is_copied(shot: Shot) -> bool:
    return shot.scene.is_copied and orientation(shot.path) == 1


def write_tables(folder: Path, accepted: Sequence[Accepted], reader: str) -> None:
    """Writes labels.csv and annotations.csv of what a reader accepted."""
    with atomic_files():
        write_text(folder / "labels.csv", _labels(accepted))
        write_text(folder / "annotations.csv", _annotations(accepted, reader))


def _labels(accepted: Sequence[Accepted]) -> str:
    rows = [["file", "label", "group", "spacing", "diameters"]]
    # Where the patient is known of some images only, each of the others is a group of its own.
    has_groups = any(one.patient for one in accepted)
    for one in sorted(accepted, key=lambda each: each.file):
        group = one.patient or (one.file if has_groups else "")
        label = _IN_TABLE.get(one.finding.label, one.finding.label)
        spacing = " ".join(one.finding.spacing.replace(",", " ").split())
        rows.append([one.file, label, group, spacing, one.diameters])
    return _table(rows)


def _annotations(accepted: Iterable[Accepted], reader: str) -> str:
    head = ["file", "label", "birads", *DESCRIPTORS, "note", "reader", "accepted"]
    rows = [[*head, "network", "version", "sha256", "changed", "remark"]]
    for one in sorted(accepted, key=lambda each: each.file):
        finding = one.finding
        when = datetime.fromtimestamp(one.time, UTC).isoformat(timespec="seconds")
        chosen = split_descriptors(finding.descriptors)
        row = [one.file, finding.label, finding.birads]
        row += [chosen.get(name, "") for name in DESCRIPTORS]
        row += [finding.note, reader, when]
        row += [one.network.name, one.network.version, one.network.sha256]
        row += [", ".join(one.by_person), one.remark]
        rows.append(row)
    return _table(rows)


def _table(rows: list[list[str]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    for row in rows:
        writer.writerow([guard_cell(cell) for cell in row])
    return file.getvalue()
