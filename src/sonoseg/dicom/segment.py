"""Segments a DICOM file: every region of every frame, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sonoseg.dicom.lesions import Outline, Tracker
from sonoseg.dicom.read import DicomFile, View, read_dicom
from sonoseg.errors import InputError
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import Segmenter


@dataclass(frozen=True)
class Segmented:
    """One region of one frame: the view, what the network found in it, and its lesions in the whole frame."""

    view: View
    result: SegmentationResult
    outlines: tuple[Outline, ...]


def segment_dicom(segmenter: Segmenter, file: DicomFile) -> Iterator[Segmented]:
    """Segments a file view by view; lesions of a loop keep their number from frame to frame.

    Raises:
        InputError: the pixel data is damaged or cut short.
    """
    tracker = Tracker()
    for view in file.views():
        result = segmenter.segment(view.image)
        yield Segmented(view, result, tuple(tracker.follow(view, result.mask)))


def segment_still(segmenter: Segmenter, source: Path | str) -> SegmentationResult:
    """Segments a DICOM file of one frame with one B-mode region.

    The result is that of the region; `result.image.source.region` says where it lies in the frame.

    Raises:
        InputError: as `read_dicom`; or the file has several frames or regions.
    """
    file = read_dicom(source)
    if file.frames > 1 or len(file.layout.regions) > 1:
        problem = (
            f"has {file.frames} frames with {len(file.layout.regions)} regions each"
        )
        hint = "use segment_frames, or sonoseg segment"
        raise InputError(file.header.subject, problem, hint)
    (view,) = file.views()
    return segmenter.segment(view.image)


def segment_frames(segmenter: Segmenter, source: Path | str) -> Iterator[Segmented]:
    """Segments a DICOM file frame by frame; see `segment_dicom` and `read_dicom`."""
    return segment_dicom(segmenter, read_dicom(source))
