"""Which segmentations of a DICOM data set belong to which of its images and frames, and of which reader they are."""

from __future__ import annotations

import contextlib
from pathlib import Path

from sonoseg.dicom.damage import dicom_errors, text
from sonoseg.dicom.header import WRITER
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.seg_to_mask import SegFile
from sonoseg.errors import InputError


def pair(
    segs: list[tuple[Path, SegFile]], images: list[tuple[Path, DicomFile]]
) -> tuple[list[dict[Path, set[int]]], dict[Path, str]]:
    """For each image its segmentations with the frames they have; and what is unclear about some of them."""
    unclear: dict[Path, str] = {}
    pairs = []
    for _, file in images:
        found = {}
        for path, seg in segs:
            try:
                frames = _frames_of(seg, file, images)
            except InputError as error:
                unclear[path] = error.problem
            else:
                if frames:
                    found[path] = frames
        pairs.append(found)
    return pairs, unclear


def _frames_of(
    seg: SegFile, file: DicomFile, images: list[tuple[Path, DicomFile]]
) -> set[int]:
    """The frames of an image that a segmentation has.

    3D Slicer (dcmqi) writes no reference to an image that has no place in space, as ultrasound has none. Such a
    segmentation belongs to the only image of its study that has its size.

    Raises:
        InputError: it belongs to the image, but not to frames that the image has.
    """
    own = file.header.instance
    if not any(seg.instances):
        fitting = [image for _, image in images if _fits(seg, image)]
        is_meant = len(fitting) == 1 and fitting[0] is file
    else:
        is_meant = own in seg.instances
    return seg.of_image(file.header).frames if is_meant else set()


def _fits(seg: SegFile, file: DicomFile) -> bool:
    """Whether a segmentation can be of an image: the same study and size, and no frame that the image has not."""
    mine, its = seg.header.dataset, file.dataset
    is_of_study = mine.get("StudyInstanceUID") == its.get("StudyInstanceUID")
    if not is_of_study or seg.header.shape != file.shape:
        return False
    with contextlib.suppress(InputError):
        seg.of_image(file.header)
        return True
    return False


def reader_of(path: Path, seg: SegFile) -> tuple[str, ...]:
    """What the segmentations of one reader share: the series, and the name of who made the content.

    A series has one operator (PS3.3 C.7.3.1). The name alone does not suffice: many programs write the same one
    for everybody. sonoseg itself writes all lesions of a frame into one file, so each file is of its own.
    """
    dataset = seg.header.dataset
    with dicom_errors(seg.header.subject):
        series = text(dataset, "SeriesInstanceUID")
        if not series or text(dataset, "Manufacturer") == WRITER:
            return (str(path),)
        return series, text(dataset, "ContentCreatorName")
