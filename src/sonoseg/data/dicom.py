"""A data set of DICOM ultrasound whose masks are DICOM segmentations (SEG)."""

from __future__ import annotations

import filecmp
import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.mask import check_filled
from sonoseg.data.case import NO_PATIENT, Case, size_problem
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

_logger = logging.getLogger(__name__)


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
        return self._view()[1].image.pixels

    def read(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The region and the union (H, W) of the segments that lie in it. Doubts are logged as warnings.

        Raises:
            InputError: a file cannot be read, two segmentations mark the same pixel, or one marks an outline, or
                only what lies outside of all regions.
        """
        image, mask, doubts = self.read_with_doubts()
        for path, doubt in doubts.items():
            _logger.warning("%s: %s", path, doubt)
        return image, mask

    def read_with_doubts(
        self,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], dict[Path, str]]:
        """As `read`, with doubts about segmentations instead of warnings."""
        file, view = self._view()
        outside = np.ones(view.shape, np.bool_)
        for region in file.layout.regions:
            outside[region.slices] = False
        union, doubts = np.zeros(view.shape, np.bool_), {}
        for path in self.masks:
            mask = _marked(path, file, self.frame)
            if (union & mask).any():
                problem = "marks pixels that another segmentation of this frame marks"
                raise InputError(path, problem, "keep those of one reader")
            check_filled(path, mask)
            left_out = int((mask & outside).sum())
            if left_out:
                doubts[path] = _outside(path, left_out, int(mask.sum()))
            union |= mask
        return view.image.pixels, union[view.region.slices], doubts

    def _view(self) -> tuple[DicomFile, View]:
        from sonoseg.dicom.read import read_dicom

        file = read_dicom(self.image)
        for view in file.views([self.frame]):
            if view.number == self.region:
                return file, view
        raise InputError(
            self.image, f"has no region {self.region}", "copy the data set again"
        )


def _marked(path: Path, file: DicomFile, frame: int) -> NDArray[np.bool_]:
    """What a segmentation marks on a frame of an image, (H, W).

    Raises:
        InputError: it cannot be read, or is of another size.
    """
    from sonoseg.dicom.seg_to_mask import read_seg, union_by_frame

    seg = read_seg(path).of_image(file.header)
    mask = union_by_frame(seg, frame).get(frame)
    if mask is None:
        return np.zeros(file.shape, np.bool_)
    if mask.shape != file.shape:
        problem = size_problem(mask.shape, file.shape)
        raise InputError(path, problem, "give the segmentation of this image")
    return mask


def _outside(path: Path, left_out: int, marked: int) -> str:
    """The doubt about a segmentation that marks pixels outside of the ultrasound image, of which all are too many."""
    if left_out == marked:
        problem = "marks nothing within the ultrasound image, only beside it"
        raise InputError(path, problem, "give the segmentation of this image")
    return f"{left_out} of the {marked} pixels that it marks lie beside the ultrasound image"


def find_dicom(folder: Path) -> Path | None:
    """`folder` if there is a DICOM file in it or below; otherwise None."""
    return folder if next(_dicom_paths(folder), None) is not None else None


def scan_dicom(root: Path) -> Scan:
    """Pairs images with the segmentations that refer to them, whatever their names and folders.

    A still is a case for each of its regions. Of a loop the frames are cases that a segmentation has. If only some
    regions of a frame have a segment, the others are left out, which is a finding: who read one half of a screen says
    nothing of the other. Without any segment all are known to have no lesion. The patient is the group, see
    `patient_of`; the spacing is that of the file. Labels are "unknown". Several segmentations of one frame are merged
    only if they are known to be of one reader, see `dicom_pairs.reader_of`; otherwise its cases have no mask.

    Raises:
        InputError: pydicom is not installed.
    """
    check_installed()
    from sonoseg.data.dicom_pairs import pair, reader_of
    from sonoseg.dicom.header import SEGMENTATIONS, ULTRASOUND, WRITER, open_dicom
    from sonoseg.dicom.read import read_dicom
    from sonoseg.dicom.seg_to_mask import read_seg

    scan = Scan(root, [], [])
    segs: list[tuple[Path, SegFile]] = []
    images: list[tuple[Path, DicomFile]] = []
    readers: dict[Path, tuple[str, ...]] = {}
    for path in _dicom_paths(root):
        try:
            dataset = open_dicom(path).dataset
            kind = str(dataset.get("SOPClassUID"))
            if kind in SEGMENTATIONS:
                seg = read_seg(path)
                readers[path] = reader_of(path, seg)
                segs.append((path, seg))
            elif kind in ULTRASOUND or dataset.get("Manufacturer") != WRITER:
                # Our own reports and overlays lie beside our segmentations.
                images.append((path, read_dicom(path)))
        except InputError as error:
            scan.add("not read", path, error.problem)
    frames, unclear = pair(segs, images)
    for path, problem in unclear.items():
        scan.add("not read", path, problem)
    for (path, file), found in zip(images, frames, strict=True):
        if not found:
            scan.add("image without mask", path, "there is no segmentation for it")
        masks = _masks_by_frame(scan, path, file, found, readers)
        scan.cases.extend(_cases(scan, path, file, masks))
    _find_same_names(scan)
    used = set(unclear).union(*frames)
    for path, _ in segs:
        if path not in used:
            problem = "there is no image for it, or it refers to none and several fit"
            scan.add("mask without image", path, problem)
    return scan


def _find_same_names(scan: Scan) -> None:
    first: dict[str, Path] = {}
    for case in scan.cases:
        other = first.setdefault(case.name, case.image)
        if other != case.image:
            words = f"has the same name as {scan.relative(other)}: {case.name}"
            scan.add("duplicate name", case.image, words)


def _masks_by_frame(
    scan: Scan,
    path: Path,
    file: DicomFile,
    found: Mapping[Path, set[int]],
    readers: Mapping[Path, tuple[str, ...]],
) -> dict[int, tuple[Path, ...]]:
    """The segmentations of each frame; none where they may be of several readers, which is noted."""
    files = _without_copies(found)
    frames = {1} if file.frames == 1 else set().union(*found.values())
    masks: dict[int, tuple[Path, ...]] = {}
    mixed: dict[tuple[Path, ...], list[int]] = {}
    for frame in sorted(frames):
        own = tuple(seg for seg in files if frame in found[seg])
        if len({readers[seg] for seg in own}) > 1:
            mixed.setdefault(own, []).append(frame)
            own = ()
        masks[frame] = own
    for own, numbers in mixed.items():
        which = f"frame {numbers[0]} " if file.frames > 1 else ""
        which += f"and {len(numbers) - 1} more have" if len(numbers) > 1 else "has"
        names = ", ".join(scan.relative(seg) for seg in own)
        problem = f"{which} {len(own)} segmentations ({names})"
        scan.add("several segmentations", path, problem)
    return masks


def _without_copies(paths: Iterable[Path]) -> list[Path]:
    """Of files with the same content only the first: two readers who accept one outline unchanged have the same."""
    kept: list[Path] = []
    for path in paths:
        if not any(filecmp.cmp(path, other, shallow=False) for other in kept):
            kept.append(path)
    return kept


def _cases(
    scan: Scan, path: Path, file: DicomFile, masks: Mapping[int, tuple[Path, ...]]
) -> Iterator[DicomCase]:
    regions = file.layout.regions
    left_out: dict[int, int] = {}
    for frame, own in masks.items():
        read = _read_regions(file, frame, own)
        for number, region in enumerate(regions, start=1):
            if number not in read:
                left_out[number] = left_out.get(number, 0) + 1
                continue
            name = scan.relative(path).replace("/", "_")
            name += f"_frame{frame:04d}" if file.frames > 1 else ""
            name += f"_region{number}" if len(regions) > 1 else ""
            group = patient_of(file, scan.relative(path))
            yield DicomCase(
                name, path, own, "unknown", group, region.spacing, frame, number
            )
    for number, count in sorted(left_out.items()):
        where = f"region {number}" + (f" of {count} frames" if file.frames > 1 else "")
        message = f"{where} is left out: there is a segment in another region only"
        scan.add("region without mask", path, message)


def _read_regions(file: DicomFile, frame: int, masks: Iterable[Path]) -> set[int]:
    """The numbers of the regions of which segmentations say what is lesion: those with a segment, or all if none has.

    What cannot be read says so later, of all regions.
    """
    regions = file.layout.regions
    known = set(range(1, len(regions) + 1))
    if len(regions) == 1:
        return known
    try:
        marked = [_marked(path, file, frame) for path in masks]
    except InputError:
        return known
    return {
        number
        for number, region in enumerate(regions, start=1)
        if any(mask[region.slices].any() for mask in marked)
    } or known


def patient_of(file: DicomFile, place: str) -> str:
    """A code for the patient: splits and results are passed on, and must not hold an ID.

    Without ID and name it begins with `NO_PATIENT`: images of a study share it, or it is of the file alone.

    Args:
        file: the image.
        place: its path in the data set.
    """
    from sonoseg.dicom.source import has_patient, patient_key

    who = patient_key(file.dataset)
    code = hashlib.sha256(who.encode()).hexdigest()[:12] if who else place
    kind = "patient-" if has_patient(file.dataset) else NO_PATIENT
    return f"{kind}{code}"


def _dicom_paths(folder: Path) -> Iterator[Path]:
    """The DICOM files in a folder and below, in the order of their paths."""
    for path in files_below(folder):
        if is_dicom_file(path) and not is_directory_file(path):
            yield path
