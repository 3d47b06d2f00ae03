"""Segments a DICOM file: every region of every frame, one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

from sonoseg.core.image import pixel_spacing
from sonoseg.dicom.lesions import Outline, Tracker
from sonoseg.dicom.read import USUAL_FRAME_TIME, DicomFile, View, read_dicom
from sonoseg.dicom.stream import DicomSource
from sonoseg.dicom.whole_frame import WholeFrameResult, in_whole_frame
from sonoseg.errors import InputError, counted
from sonoseg.reader.ahead import ahead
from sonoseg.reader.result import SegmentationResult
from sonoseg.reader.segmenter import PixelSize, Segmenter

TOGETHER = 2
"""Views in one run of the network: two take a fifth less processor time than one after the other."""

_LOST_AFTER = 500.0
"""Milliseconds after which a lesion that was not seen is taken for another one."""


@dataclass(frozen=True)
class Segmented:
    """One region of one frame: the view, what the network found in it, and its lesions in the whole frame."""

    view: View
    result: SegmentationResult
    outlines: tuple[Outline, ...]


def segment_dicom(
    segmenter: Segmenter, file: DicomFile, explain: bool = False
) -> Iterator[Segmented]:
    """Segments a file, two views at a time; lesions of a loop keep their number from frame to frame.

    Args:
        segmenter: the network.
        file: the file.
        explain: ask where the network looked, for the results' `heat`.

    Raises:
        InputError: the pixel data is damaged or cut short.
    """
    apart = _LOST_AFTER / (file.frame_time or USUAL_FRAME_TIME)
    tracker = Tracker(max(1, round(apart)))
    # Compressed frames are decoded while those before are segmented; others take less time than a thread does.
    decoded = file.views()
    with closing(ahead(decoded, TOGETHER) if file.is_compressed else decoded) as views:
        while some := list(islice(views, TOGETHER)):
            images = [view.image for view in some]
            results = segmenter.segment_batch(images, explain=explain)
            for view, result in zip(some, results, strict=True):
                outlines = tracker.follow(view, result.mask)
                yield Segmented(view, result, _judged(outlines, result))


def _judged(
    outlines: Sequence[Outline], result: SegmentationResult
) -> tuple[Outline, ...]:
    """The outlines with the malignancy of their lesions, which are in the same order."""
    if result.judge is None:
        return tuple(outlines)
    judged = []
    for outline, lesion in zip(outlines, result.lesions, strict=True):
        judged.append(replace(outline, malignancy=lesion.malignancy))
    return tuple(judged)


def segment_frames(
    segmenter: Segmenter,
    source: DicomSource,
    spacing: PixelSize | None = None,
    explain: bool = False,
) -> Iterator[WholeFrameResult]:
    """Segments every B-mode region of every frame of a DICOM file, one at a time.

    Args:
        segmenter: the network.
        source: a path, the content of a file, an open file, or a pydicom data set.
        spacing: mm per pixel, one number or (row, column), in place of the file's own.
        explain: ask where the network looked, for the results' `heat`.

    Yields:
        the results, whose maps have the size of the whole frame.

    Raises:
        InputError: as `read_dicom`; or the spacing cannot be used.
    """
    file = _read(source, spacing)
    for view in file.views():
        yield in_whole_frame(view, segmenter.segment(view.image, explain=explain))


def segment_still(
    segmenter: Segmenter,
    source: DicomSource,
    spacing: PixelSize | None = None,
    explain: bool = False,
) -> WholeFrameResult:
    """Segments a DICOM file of one frame with one B-mode region; see `segment_frames`.

    Raises:
        InputError: as `segment_frames`; or the file has several frames or regions.
    """
    file = _read(source, spacing)
    if file.frames > 1 or len(file.layout.regions) > 1:
        frames = counted(file.frames, "frame")
        regions = counted(len(file.layout.regions), "B-mode region")
        problem = f"has {frames} with {regions}"
        hint = "use segment_frames, or sonoseg segment"
        raise InputError(file.header.subject, problem, hint)
    (view,) = file.views()
    return in_whole_frame(view, segmenter.segment(view.image, explain=explain))


def _read(source: DicomSource, spacing: PixelSize | None) -> DicomFile:
    known = pixel_spacing(spacing)
    file = read_dicom(source)
    return file if known is None else file.with_spacing(known)
