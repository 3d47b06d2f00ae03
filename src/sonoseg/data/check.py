"""Finds all problems of a data set and reports them together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.decode import orientation
from sonoseg.core.image import read_image
from sonoseg.core.mask import Mask, read_reference
from sonoseg.data.case import Case, size_problem
from sonoseg.data.compared import Images, check_copies, check_leakage
from sonoseg.data.copies import near_copies
from sonoseg.data.dicom import DicomCase
from sonoseg.data.load import scan
from sonoseg.data.pack import PackedCase, is_pack, open_pack
from sonoseg.data.scan import Finding, Scan
from sonoseg.data.splits import split_cases
from sonoseg.data.unread import note_unread
from sonoseg.errors import InputError, counted, visible

KINDS = {
    "unreadable": "files that cannot be read",
    "doubtful": "files whose data is not sound",
    "duplicate name": "images of one name",
    "class without images": "class folders without images",
    "image without mask": "images without a mask",
    "mask without image": "masks without an image",
    "region without mask": "regions of which no segmentation says what is lesion",
    "several segmentations": "images with more than one segmentation",
    "image without row": "images without a row in the table",
    "image without group": "images without a group in the table",
    "row without image": "rows in the table without an image",
    "not read": "files and folders that are not read",
    "unknown column": "columns of the table that are not known",
    "size mismatch": "masks of another size than their image",
    "turned apart": "masks that EXIF turns otherwise than their image",
    "several values": "masks of more than two values",
    "large mask": "masks over half of their image",
    "mask at every border": "masks that touch every border of their image",
    "empty mask": "lesion images whose mask is empty",
    "normal with lesion": "normal images whose mask is not empty",
    "exact copies": "groups of images with the same pixels",
    "near-copies": "groups of nearly the same image",
    "label conflict": "groups of copies whose labels differ",
    "leakage": "groups of copies, or of one patient, that the split divides",
}


@dataclass(frozen=True)
class Report:
    """What `check_folder` found.

    Attributes:
        folder: the data set's folder; the findings' files are relative to it.
        images: how many images it has.
        findings: ordered by kind, as in `KINDS`.
        pack: of a pack, the name of what it was made from and its size in words; otherwise "".
    """

    folder: Path
    images: int
    findings: tuple[Finding, ...]
    pack: str = ""

    @property
    def exit_code(self) -> int:
        """0 if nothing was found, otherwise 1."""
        return 1 if self.findings else 0

    def to_text(self) -> str:
        """The findings as lines: each kind with its count, then one line a finding."""
        what = f"a pack of {self.pack}, " if self.pack else ""
        images, number = counted(self.images, "image"), len(self.findings)
        problems = counted(number, "problem") if number else "no problems"
        lines = [f"{self.folder}: {what}{images}, {problems} found"]
        for kind, group in groupby(self.findings, key=lambda finding: finding.kind):
            findings = list(group)
            lines += ["", f"{KINDS[kind]}: {len(findings)}"]
            for finding in findings:
                files = ", ".join(finding.files)
                lines.append(f"       {visible(files)}: {visible(finding.message)}")
        return "\n".join(lines)


def check_command(folder: Path, split: str | None) -> tuple[str, int]:
    """`sonoseg data check`: the report as text, and the exit code; see `check_folder`."""
    report = check_folder(folder, split)
    return report.to_text(), report.exit_code


def check_folder(folder: Path | str, split: str | None = None) -> Report:
    """Reads every image and mask of a data set and reports what is wrong with them.

    Looks for files that cannot be read, or that are not by their name or place (see `note_unread`), images and masks
    without each other, classes without images, names that occur twice, masks of another size or EXIF orientation or at
    odds with the label, of more than two values, over half of the image or at every border of it, exact copies,
    near-copies (see `near_copies`), labels that differ among copies, and copies and groups that the split divides.

    Args:
        folder: BUSI, BUS-BRA, a folder with images/ and masks/, DICOM images and segmentations, or a pack.
        split: as for `split_cases`.

    Raises:
        InputError: there is no data set to check, or the split does not fit it.
    """
    found = scan(folder)
    note_unread(found)
    subsets = split_cases(found.cases, split) if split is not None else {}
    images = Images()
    for case in found.cases:
        _check_case(found, case, images)
    pairs = near_copies(images.thumbnails)
    check_copies(found, images, pairs)
    check_leakage(found, images, pairs, subsets)
    once = dict.fromkeys(found.findings)  # a file is read for each frame and region
    order = list(KINDS)
    findings = sorted(once, key=lambda one: (order.index(one.kind), one.files))
    pack = _describe_pack(found.root)
    return Report(found.root, len(found.cases), tuple(findings), pack)


def _describe_pack(path: Path) -> str:
    if not is_pack(path):
        return ""
    pack = open_pack(path)
    return f"{visible(pack.source)} at {pack.size} × {pack.size} pixels"


def _check_case(found: Scan, case: Case, images: Images) -> None:
    """Reads one image and its masks."""
    if isinstance(case, PackedCase):
        _check_packed(found, case, images)
        return
    if isinstance(case, DicomCase):
        _check_dicom(found, case, images)
        return
    image = _read(found, case.image)
    if image is not None:
        _add(found, images, case, image)
    lesion, whole = False, bool(case.masks)
    for path in case.masks:
        try:
            mask = read_reference(path)
        except InputError as error:
            found.add("unreadable", path, error.problem)
            whole = False
            continue
        lesion |= bool(mask.pixels.any())
        if image is not None and mask.pixels.shape != image.shape:
            found.add(
                "size mismatch", path, size_problem(mask.pixels.shape, image.shape)
            )
        elif image is not None and orientation(path) != orientation(case.image):
            found.add(
                "turned apart",
                path,
                "EXIF turns one of mask and image only; see that they fit",
            )
        _check_mask(found, path, mask)
    _check_label(found, case, lesion, whole)


def _add(found: Scan, images: Images, case: Case, image: NDArray[np.uint8]) -> None:
    """Keeps an image to compare it; notes one that shows nothing, such as a mask in an image's place."""
    images.add(case, image)
    if (image == image[0, 0]).all():
        found.add("doubtful", case.image, "all its pixels have the same value")


def _check_label(found: Scan, case: Case, lesion: bool, whole: bool) -> None:
    """Whether the label fits the masks: `lesion`, they hold something; `whole`, all of them could be read."""
    if case.label == "normal" and lesion:
        problem = "labelled normal, but its mask is not empty"
        found.add("normal with lesion", case.image, problem)
    if case.label in ("benign", "malignant") and whole and not lesion:
        found.add(
            "empty mask", case.image, f"labelled {case.label}, but its mask is empty"
        )


def _check_packed(found: Scan, case: PackedCase, images: Images) -> None:
    """The same of an image in a pack, of which nothing can be unreadable."""
    image, mask = case.read()
    _add(found, images, case, image)
    _check_extent(found, case.image, mask)
    _check_label(found, case, bool(mask.any()), case.known.masked)


def _check_dicom(found: Scan, case: DicomCase, images: Images) -> None:
    """The same of a region of a DICOM file; of a loop only the first frame is compared with other images."""
    try:
        image, mask, doubts = case.read_with_doubts()
    except InputError as error:
        masks = (path for path in case.masks if str(path) == error.subject)
        found.add("unreadable", next(masks, case.image), error.problem)
        return
    for path, doubt in doubts.items():
        found.add("doubtful", path, doubt)
    if not any(other.image == case.image for other in images.cases):
        _add(found, images, case, image)
    _check_extent(found, case.masks[0] if case.masks else case.image, mask)
    _check_label(found, case, bool(mask.any()), bool(case.masks))


def _check_mask(found: Scan, path: Path, mask: Mask) -> None:
    """What is unusual about a mask that was read: it may be wrong, or right."""
    if mask.between:
        message = (
            f"it has {mask.between + 2} values; lesion is what is above {mask.cut:g}"
        )
        found.add("several values", path, message)
    _check_extent(found, path, mask.pixels)


def _check_extent(found: Scan, path: Path, pixels: NDArray[np.bool_]) -> None:
    """Whether a mask (H, W) covers more of the image than a lesion does."""
    share = pixels.mean()
    if share > 0.5:
        found.add("large mask", path, f"{share:.0%} of the image is lesion")
    sides = pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]
    if all(side.any() for side in sides):
        message = f"it touches every border; {share:.0%} of the image is lesion"
        found.add("mask at every border", path, message)


def _read(found: Scan, path: Path) -> NDArray[np.uint8] | None:
    """The pixels of an image; notes it if it cannot be read, or its decoder doubts them."""
    try:
        image = read_image(path)
    except InputError as error:
        found.add("unreadable", path, error.problem)
        return None
    for doubt in image.doubts:
        found.add("doubtful", path, doubt)
    return image.pixels
