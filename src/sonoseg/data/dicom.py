"""A data set of DICOM ultrasound whose masks are DICOM segmentations (SEG)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonoseg.data.case import Case, size_problem
from sonoseg.data.scan import Scan
from sonoseg.dicom.recognise import (
    check_installed,
    files_below,
    is_dicom_file,
    is_directory_file,
)
from sonoseg.errors import InputError

if TYPE_CHECKING:
    from sonoseg.dicom.read import DicomFile, View
    from sonoseg.dicom.seg_to_mask import SegFile


@dataclass(frozen=True)
class DicomCase(Case):
    """One B-mode region of one frame.

    Attributes:
        frame: number of the frame, from 1.
        region: number of the region in the frame, from 1.
    """

    frame: int = 1
    region: int = 1

    def read_image(self) -> NDArray[np.uint8]:
        """The region, (H, W) gray, 0 to 255."""
        return self._view().image.pixels

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The region and the union (H, W) of the segments that lie in it."""
        from sonoseg.dicom.seg_to_mask import read_seg, union_by_frame

        view = self._view()
        union = np.zeros(view.shape, np.bool_)
        for path in self.masks:
            frames = union_by_frame(read_seg(path), _instance(self.image), self.frame)
            mask = frames.get(self.frame)
            if mask is None:
                continue
            if mask.shape != view.shape:
                problem = size_problem(mask.shape, view.shape)
                raise InputError(path, problem, "give the segmentation of this image")
            union |= mask
        return view.image.pixels, union[view.region.slices]

    def _view(self) -> View:
        from sonoseg.dicom.read import read_dicom

        for view in read_dicom(self.image).views([self.frame]):
            if view.number == self.region:
                return view
        raise InputError(
            self.image, f"has no region {self.region}", "copy the data set again"
        )


def find_dicom(folder: Path) -> Path | None:
    """`folder` if there is a DICOM file in it or below; otherwise None."""
    return folder if next(_dicom_paths(folder), None) is not None else None


def scan_dicom(root: Path) -> Scan:
    """Pairs images with the segmentations that refer to them, whatever their names and folders.

    A still is a case for each of its regions. Of a loop the frames are cases that a segmentation has. The patient is
    the group, under a checksum of the ID; the spacing is that of the file. Labels are "unknown".

    Raises:
        InputError: pydicom is not installed.
    """
    check_installed()
    from sonoseg.dicom.header import SEGMENTATIONS, open_dicom
    from sonoseg.dicom.read import read_dicom
    from sonoseg.dicom.seg_to_mask import read_seg

    scan = Scan(root, [], [])
    segs: list[tuple[Path, SegFile]] = []
    images: list[tuple[Path, DicomFile]] = []
    for path in _dicom_paths(root):
        try:
            kind = str(open_dicom(path).dataset.get("SOPClassUID"))
            if kind in SEGMENTATIONS:
                segs.append((path, read_seg(path)))
            else:
                images.append((path, read_dicom(path)))
        except InputError as error:
            scan.add("not read", path, error.problem)
    used: set[Path] = set()
    for path, file in images:
        own = [(place, seg) for place, seg in segs if _frames_of(seg, file, images)]
        used.update(place for place, _ in own)
        if not own:
            scan.add("image without mask", path, "there is no segmentation for it")
        frames = {1}
        if file.frames > 1:
            frames = set()
            for _, seg in own:
                frames |= _frames_of(seg, file, images)
        masks = tuple(place for place, _ in own)
        scan.cases.extend(_cases(scan, path, file, masks, frames))
    for path, _ in segs:
        if path not in used:
            problem = "there is no image for it, or it refers to none and several fit"
            scan.add("mask without image", path, problem)
    return scan


def _frames_of(
    seg: SegFile, file: DicomFile, images: list[tuple[Path, DicomFile]]
) -> set[int]:
    """The frames of an image that a segmentation has.

    3D Slicer (dcmqi) writes no reference to an image that has no place in space, as ultrasound has none. Such a
    segmentation belongs to the only image of its study that has its size.
    """
    own = file.header.instance
    frames = {frame for instance, frame, _ in seg.places if instance == own}
    if frames or any(instance for instance, _, _ in seg.places):
        return frames
    fitting = [image for _, image in images if _fits(seg, image)]
    is_meant = len(fitting) == 1 and fitting[0] is file
    return {frame for _, frame, _ in seg.places} if is_meant else set()


def _fits(seg: SegFile, file: DicomFile) -> bool:
    """Whether a segmentation can be of an image: the same study and size, and no frame that the image has not."""
    mine, its = seg.header.dataset, file.dataset
    last = max(frame for _, frame, _ in seg.places)
    is_of_study = mine.get("StudyInstanceUID") == its.get("StudyInstanceUID")
    return is_of_study and seg.header.shape == file.shape and last <= file.frames


def _cases(
    scan: Scan,
    path: Path,
    file: DicomFile,
    masks: tuple[Path, ...],
    frames: set[int],
) -> Iterator[DicomCase]:
    regions = file.layout.regions
    for frame in sorted(frames):
        for number, region in enumerate(regions, start=1):
            name = scan.relative(path).replace("/", "_")
            name += f"_frame{frame:04d}" if file.frames > 1 else ""
            name += f"_region{number}" if len(regions) > 1 else ""
            group = patient_of(file, path)
            yield DicomCase(
                name, path, masks, "unknown", group, region.spacing, frame, number
            )


def patient_of(file: DicomFile, path: Path) -> str:
    """A code for the patient: splits and results are passed on, and must not hold an ID."""
    who = str(file.dataset.get("PatientID") or "")
    if not who:
        return path.name
    return "patient-" + hashlib.sha256(who.encode()).hexdigest()[:12]


def _instance(path: Path) -> str:
    from sonoseg.dicom.header import open_dicom

    return open_dicom(path).instance


def _dicom_paths(folder: Path) -> Iterator[Path]:
    """The DICOM files in a folder and below, in the order of their paths."""
    for path in files_below(folder):
        if is_dicom_file(path) and not is_directory_file(path):
            yield path
