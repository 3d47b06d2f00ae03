"""BUSI: 780 breast-ultrasound images of Cairo in the folders benign/, malignant/ and normal/.

Al-Dhabyani et al., Data in Brief 28 (2020) 104863.
"""

from __future__ import annotations

import csv
import functools
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from sonoseg.data.case import Case
from sonoseg.data.listing import Scan, duplicate_names, list_images

CLASSES = ("benign", "malignant", "normal")
PUBLISHED_FOLDER = "Dataset_BUSI_with_GT"
_MASK = re.compile(r"(?P<image>.+)_mask(_\d+)?")


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
    """

    path: str
    sha256: str
    group: str
    paper: str
    paper_clean: str
    fold: int | None

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
        )
        for row in rows
    )


@functools.cache
def busi_images() -> dict[str, BusiFile]:
    """The rows of the 780 images, by file name, in the order of the paper's split."""
    return {file.name: file for file in busi_files() if file.group}


def find_busi(folder: Path) -> Path | None:
    """The folder with the class folders: `folder` or the published folder in it; None if neither is."""
    for root in (folder, folder / PUBLISHED_FOLDER):
        if any((root / name).is_dir() for name in CLASSES):
            return root
    return None


def scan_busi(root: Path) -> Scan:
    """Pairs images with masks by name: NAME.png with NAME_mask.png, NAME_mask_1.png, ...

    The cases are ordered by their paths as strings ("benign (10).png" before "benign (2).png"), as the
    paper's split had them. A normal image needs no mask. An image that is not BUSI's own is its own group.
    """
    images: list[Path] = []
    masks: dict[Path, list[Path]] = {}
    for path in (path for name in CLASSES if (root / name).is_dir() for path in list_images(root / name)):
        match = _MASK.fullmatch(path.stem)
        if match:
            masks.setdefault(path.parent / match["image"], []).append(path)
        else:
            images.append(path)
    scan = Scan(root, [], duplicate_names(root, images))
    table = busi_images()
    for path in images:
        own = tuple(masks.get(path.with_suffix(""), ()))
        label = path.parent.name
        if not own and label != "normal":
            scan.add("image without mask", path, "there is no mask for it")
        group = table[path.name].group if path.name in table else path.name
        scan.cases.append(Case(path.name, path, own, label, group))
    for image in masks.keys() - {path.with_suffix("") for path in images}:
        for path in masks[image]:
            scan.add("mask without image", path, "there is no image for it")
    return scan
