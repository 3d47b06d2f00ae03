"""Segments a DICOM file: every region of every frame, one at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sonoseg.dicom.lesions import Outline, Tracker
from sonoseg.dicom.read import DicomFile, View
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
