"""BUSI: 780 breast-ultrasound images of Cairo in the folders benign/, malignant/ and normal/.

Al-Dhabyani et al., Data in Brief 28 (2020) 104863.
"""

from __future__ import annotations

import csv
import functools
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from sonoseg.core.image import read_image
from sonoseg.data.case import Case
from sonoseg.data.copies import SAME_LOOK, fingerprint
from sonoseg.data.scan import (
    Scan,
    duplicate_names,
    entries,
    images_in,
    mask_stem,
    name_key,
    subfolder,
)
from sonoseg.errors import InputError, counted

_logger = logging.getLogger(__name__)
CLASSES = ("benign", "malignant", "normal")
_SAMPLE = 10
"""Of how many images, at least, one looks whether they are BUSI's."""
_SHARE = 0.1
"""Of the images that are named as in BUSI: how many, at least, look as there. Of BUSI with black borders that make the
images square, a fifth does; of other data sets, none."""
PUBLISHED_FOLDER = "Dataset_BUSI_with_GT"
_TRUTHS = (
    re.compile(
        r"(?P<image>.+)[_\- ](gt|seg|segmentation|annotation|roi|truth|label)s?([_\- ]?\d+)?"
    ),
    re.compile(r"(?P<image>.+?)[_\- ]mask.*", re.DOTALL),
)
"""Names (in lower case) of masks in other data sets, and of copies of masks, such as "n1_mask - Copy". In normal/ such
a file would be taken for an image."""


@dataclass(frozen=True)
class BusiFile:
    """One published file of BUSI: a row of `busi.csv`, which `benchmarks/make_busi_table.py` derives.

    Attributes:
        path: its place in BUSI, such as "benign/benign (1).png".
        sha256: of the file as published.
        group: of near-copies, named after its first image; "" for a mask.
        paper: subset in the split `paper`; "" for a mask.
        paper_clean: subset in the split `paper-clean`; "" for a mask or an image that is left out.
        fold: 0 to 4 in the split `grouped`; None for a mask.
        look: `fingerprint` of the image; 0 for a mask.
        is_labelled: whether its label can be learned: no near-copy that is kept instead, no armpit, no needle, and no
            copy with another label (Pawłowska et al. 2023). False for a mask.
    """

    path: str
    sha256: str
    group: str
    paper: str
    paper_clean: str
    fold: int | None
    is_labelled: bool
    look: int

    @property
    def name(self) -> str:
        """The file name, unique in BUSI, since it starts with the class."""
        return self.path.rpartition("/")[2]


@functools.cache
def busi_files() -> tuple[BusiFile, ...]:
    """All 1,578 published files, 780 images and 798 masks, ordered by their paths as strings."""
    with (files("sonoseg.data") / "busi.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        BusiFile(
            row["path"],
            row["sha256"],
            row["group"],
            row["paper"],
            row["paper_clean"],
            int(row["fold"]) if row["fold"] else None,
            row["labelled"] == "1",
            int(row["look"] or "0", 16),
        )
        for row in rows
    )


@functools.cache
def busi_images() -> dict[str, BusiFile]:
    """The rows of the 780 images, by file name, in the order of the paper's split."""
    return {file.name: file for file in busi_files() if file.group}


def busi_row(case: Case) -> BusiFile | None:
    """The row of the image that has this name, whatever its format; None if none has. See `known`."""
    return busi_images().get(f"{Path(case.name).stem}.png")


def find_busi(folder: Path) -> Path | None:
    """The folder with the class folders: `folder` or the published folder in it; None if neither is."""
    for root in (folder, folder / PUBLISHED_FOLDER):
        if any(subfolder(root, name) for name in CLASSES):
            return root
    return None


def scan_busi(root: Path) -> Scan:
    """Pairs images with masks by name: NAME.png with NAME_mask.png, NAME_mask_1.png, ... whatever the case of letters.

    The cases are ordered by their paths as strings ("benign (10).png" before "benign (2).png"), as the
    paper's split had them. A normal image needs no mask. Groups are those of `join_copies`. A class without images is
    a finding, unless all are.
    """
    scan = Scan(root, [], [])
    names: list[Path] = []
    for label in CLASSES:
        folder = subfolder(root, label)
        if folder is not None:
            names += _scan_class(scan, folder, label)
    scan.findings.extend(duplicate_names(root, names))
    scan.cases[:] = join_copies(root, scan.cases)
    labels = {case.label for case in scan.cases}
    for label in CLASSES:
        if labels and label not in labels:
            folder = subfolder(root, label)
            what = "is missing or empty"
            if folder is not None and entries(folder):
                what = "has no image that is read"
            message = f"{what}, so there are no {label} images"
            scan.add("class without images", root / label, message)
    return scan


def _scan_class(scan: Scan, folder: Path, label: str) -> list[Path]:
    """Adds the cases of one class folder and their problems; returns its images."""
    images: list[Path] = []
    masks: dict[str, list[Path]] = {}
    for path in images_in(folder):
        stem = mask_stem(path)
        if stem is None:
            images.append(path)
        else:
            masks.setdefault(name_key(stem), []).append(path)
    stems = {name_key(path.stem) for path in images}
    for path in images:
        own = tuple(masks.get(name_key(path.stem), ()))
        if not own and label != "normal":
            scan.add("image without mask", path, "there is no mask for it")
        if _is_named_like_mask(path, stems):
            scan.add(
                "mask without image",
                path,
                "is named like a mask; end its name in _mask if it is one",
            )
        scan.cases.append(Case(path.name, path, own, label, path.name))
    for stem in masks.keys() - stems:
        for path in masks[stem]:
            scan.add("mask without image", path, "there is no image for it")
    return images


def _is_named_like_mask(path: Path, stems: set[str]) -> bool:
    """Whether a file that is not named as masks are has the name of one, of an image with one of the stems."""
    found = (pattern.fullmatch(name_key(path.stem)) for pattern in _TRUTHS)
    return any(match["image"] in stems for match in found if match)


def join_copies(root: Path, cases: Sequence[Case]) -> list[Case]:
    """`cases` with the groups of near-copies if their images are BUSI's; as they are if not.

    Images of BUSI are known by their names and by what they show: own images may have the same names. If a tenth of
    those that are named as in BUSI look as there, all are BUSI's: a border, or more contrast, changes the look of
    many. A sample is looked at first, and all only if one of it looks different. What cannot be read is taken for what
    it is named.

    Args:
        root: the folder of the data set. A warning names it if images have names of BUSI and are others.
        cases: each a group of its own.
    """
    rows = {}
    for case in cases:
        row = busi_row(case)
        if row is not None:
            rows[case] = row
    every = list(rows.items())
    sample = every[:: max(1, len(every) // _SAMPLE)]
    if not all(_shows(case, row) for case, row in sample):
        alike = sum(_shows(case, row) for case, row in every)
        if alike < _SHARE * len(every):
            _warn_of_names(root, len(every))
            return list(cases)
    return [
        replace(case, group=rows[case].group) if case in rows else case
        for case in cases
    ]


def _shows(case: Case, row: BusiFile) -> bool:
    """Whether an image looks as the image of BUSI; True if it cannot be read."""
    try:
        look = fingerprint(read_image(case.image).pixels)
    except InputError:
        return True
    return (look ^ row.look).bit_count() <= SAME_LOOK


@functools.cache
def _warn_of_names(root: Path, count: int) -> None:
    """Says once that images only have names of BUSI."""
    images = counted(count, "image")
    problem = "named as in BUSI do not look like BUSI's; its near-copies and splits are not used for them"
    _logger.warning("%s: %s %s", root, images, problem)


def known(case: Case) -> BusiFile | None:
    """The row of `busi.csv` of an image that `join_copies` has found to be BUSI's; None for others.

    It is known by its group: that of an image which only has a name of BUSI is another.
    """
    row = busi_row(case)
    return row if row is not None and row.group == case.group else None


def is_labelled(case: Case) -> bool:
    """Whether the label of a case, benign or malignant, can be learned and tested.

    See `BusiFile.is_labelled`. Images of other data sets are taken at their word.
    """
    row = known(case)
    return case.label in ("benign", "malignant") and (row is None or row.is_labelled)
