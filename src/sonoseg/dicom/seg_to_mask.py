"""The way back: from any DICOM segmentation (SEG) to masks, one for each frame of the image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from sonoseg.core.source import check_dimensions
from sonoseg.dicom.damage import dicom_errors, integer, items, number
from sonoseg.dicom.decode import iter_frames
from sonoseg.dicom.header import (
    LABEL_MAP,
    MOST_FRAMES,
    SEGMENTATIONS,
    Header,
    open_dicom,
)
from sonoseg.dicom.placement import check_place
from sonoseg.dicom.storage import ONE_SAMPLE, check_storage
from sonoseg.dicom.stream import stream_size
from sonoseg.errors import InputError, counted

Mask = NDArray[np.bool_]
_OFF_SLICE = 0.1
"""How far from a slice, in slices, a mask may lie: what is written as text is rounded."""


@dataclass(frozen=True)
class SegmentFrame:
    """One frame of a segmentation.

    Attributes:
        instance: SOP Instance UID of the image it belongs to; "" if the file does not say.
        frame: number of the image's frame, from 1.
        segment: number of the segment.
        mask: (H, W) bool. Of a fractional segmentation what is above one half.
    """

    instance: str
    frame: int
    segment: int
    mask: Mask


class Place(NamedTuple):
    """What a frame of a segmentation belongs to.

    Attributes:
        seg_index: of the frame in the segmentation, from 0.
        instance: SOP Instance UID of the image; "" if the file does not say.
        frame: of the image, from 1.
        segment: its number.
        known_by: a number in the file, the place in space (frame i lies at i - 1 slices), or nothing: then it is 1.
    """

    seg_index: int
    instance: str
    frame: int
    segment: int
    known_by: Literal["number", "space", "nothing"]


@dataclass(frozen=True)
class SegFile:
    """A segmentation whose header is read, its pixels not.

    Attributes:
        header: the elements before the pixel data.
        places: of its frames.
    """

    header: Header
    places: tuple[Place, ...]

    @property
    def frames(self) -> set[int]:
        """The frames of the image that it has."""
        return {place.frame for place in self.places}

    @property
    def instances(self) -> set[str]:
        """SOP Instance UIDs of the images that its frames belong to; "" if the file does not say."""
        return {place.instance for place in self.places}

    def of_image(self, image: Header) -> SegFile:
        """The part that belongs to an image, or names none. Without a number, it belongs to the only frame of a still.

        Args:
            image: of the same size, its number of frames known.

        Raises:
            InputError: it does not say which frame is meant, or it means one that the image does not have, or it lies
                elsewhere in space.
        """
        own = [place for place in self.places if place.instance in (image.instance, "")]
        if image.frames == 1:
            own = [
                place if place.known_by == "number" else place._replace(frame=1)
                for place in own
            ]
        elif any(place.known_by == "nothing" for place in own):
            raise _unclear(self.header)
        last = max((place.frame for place in own), default=1)
        if last > image.frames:
            has = counted(image.frames, "frame")
            problem = f"has a mask for frame {last}, but the image has {has}"
            hint = "give the image that was segmented"
            raise InputError(self.header.subject, problem, hint)
        _check_once(self.header, own)
        check_place(self.header, [place.seg_index for place in own], image)
        return replace(self, places=tuple(own))

    def segment_frames(self, frame: int | None = None) -> Iterator[SegmentFrame]:
        """Decodes the frames one by one; a frame of a label map is yielded once for each label in it.

        Args:
            frame: only those of this frame of the image; None for all.

        Raises:
            InputError: the pixel data is damaged or cut short.
        """
        wanted = [place for place in self.places if frame in (None, place.frame)]
        if not wanted:
            return
        indices = [place.seg_index for place in wanted]
        with closing(iter_frames(self.header, indices)) as decoded:
            for place, pixels in zip(wanted, decoded, strict=True):
                with dicom_errors(self.header.subject):
                    masks = list(self._masks(pixels, place.segment))
                for number, mask in masks:
                    yield SegmentFrame(place.instance, place.frame, number, mask)

    def _masks(self, pixels: NDArray[Any], segment: int) -> Iterator[tuple[int, Mask]]:
        dataset = self.header.dataset
        kind = str(dataset.get("SegmentationType"))
        if kind == "LABELMAP" or str(dataset.SOPClassUID) == LABEL_MAP:
            for label in np.unique(pixels[pixels > 0]):
                yield int(label), pixels == label
        elif kind == "FRACTIONAL":
            yield segment, pixels > integer(dataset, "MaximumFractionalValue") / 2
        else:
            yield segment, pixels > 0


def read_seg(source: Path | str | bytes) -> SegFile:
    """Reads the header of a segmentation: ours, or that of 3D Slicer, OHIF and other programs.

    Raises:
        InputError: not DICOM, not a segmentation, damaged, pixel data of another length than its size says, or it
            does not say which frames of the image its masks belong to.
    """
    header = open_dicom(source)
    with dicom_errors(header.subject):
        dataset = header.dataset
        if str(dataset.get("SOPClassUID")) not in SEGMENTATIONS:
            problem = "is not a DICOM segmentation (SEG)"
            raise InputError(header.subject, problem, "give a SEG file")
        check_storage(dataset, header.subject, ONE_SAMPLE, (1, 8, 16))
        frames = integer(dataset, "NumberOfFrames")
        check_dimensions(
            header.subject, integer(dataset, "Columns"), integer(dataset, "Rows")
        )
        _check_frames(header, frames)
        places = tuple(_places(dataset, frames))
    known: dict[str, set[bool]] = {}
    for place in places:
        known.setdefault(place.instance, set()).add(place.known_by != "nothing")
    if any(len(both) > 1 for both in known.values()):  # some frames of an image
        raise _unclear(header)
    _check_once(header, places)
    return SegFile(replace(header, frames=frames), places)


def union_by_frame(seg: SegFile, frame: int | None = None) -> dict[int, Mask]:
    """For each frame of the image the union (H, W) bool of its segments.

    Args:
        seg: the segmentation of one image.
        frame: number of the only frame that is wanted; None for all.
    """
    union: dict[int, Mask] = {}
    for one in seg.segment_frames(frame):
        known = union.get(one.frame)
        union[one.frame] = one.mask if known is None else known | one.mask
    return union


def _check_once(header: Header, places: Sequence[Place]) -> None:
    """Refuses two masks of one segment for one frame: what tells the frames apart was not understood."""
    if len({(each.instance, each.frame, each.segment) for each in places}) < len(
        places
    ):
        raise _unclear(header)


def _unclear(header: Header) -> InputError:
    problem = "does not say which frames of the image its masks belong to"
    hint = "save it with references to the frames, or as slices from the first frame on"
    return InputError(header.subject, problem, hint)


def _check_frames(header: Header, frames: int) -> None:
    dataset = header.dataset
    bits = (
        integer(dataset, "Rows")
        * integer(dataset, "Columns")
        * frames
        * integer(dataset, "BitsAllocated")
    )
    is_native = not dataset.file_meta.TransferSyntaxUID.is_encapsulated
    fits = bits // 8 <= stream_size(header.stream) if is_native else True
    if not 1 <= frames <= MOST_FRAMES or not fits:
        problem = f"says that it has {frames} frames, which do not fit in it"
        raise InputError(header.subject, problem, "copy or export it again")
    if is_native and header.pixel_bytes not in (-(-bits // 8), -(-bits // 16) * 2):
        size = f"{frames} frames of {dataset.Columns} × {dataset.Rows} pixels"
        problem = f"has pixel data that are longer or shorter than {size}"
        raise InputError(header.subject, problem, "copy or export it again")


def _places(dataset: Dataset, frames: int) -> Iterator[Place]:
    shared = (items(dataset, "SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")
    only = _only_instance(dataset)
    for index in range(frames):
        group = groups[index] if index < len(groups) else Dataset()
        image = _source_image(group) or _source_image(shared) or Dataset()
        instance = str(image.get("ReferencedSOPInstanceUID") or only)
        segment = _segment_number(group, shared)
        if frame := _frame_number(image, group):
            yield Place(index, instance, frame, segment, "number")
        elif frame := _frame_by_position(group, shared):
            yield Place(index, instance, frame, segment, "space")
        else:
            yield Place(index, instance, 1, segment, "nothing")


def _segment_number(group: Dataset, shared: Dataset) -> int:
    for place in (group, shared):
        found = items(place, "SegmentIdentificationSequence")
        if found:
            return integer(found[0], "ReferencedSegmentNumber")
    return 1


def _source_image(group: Dataset) -> Dataset | None:
    derivation = items(group, "DerivationImageSequence")
    images = items(derivation[0], "SourceImageSequence") if derivation else None
    return images[0] if images else None


def _frame_number(image: Dataset, group: Dataset) -> int:
    """By the reference to the source, else by the place in time; 0 if there is neither, as of stills."""
    reference = image.get("ReferencedFrameNumber")
    if isinstance(reference, MultiValue) and len(reference):
        return int(reference[0])
    if reference:
        return integer(image, "ReferencedFrameNumber")
    content = items(group, "FrameContentSequence")
    return integer(content[0], "TemporalPositionIndex", missing=0) if content else 0


def _frame_by_position(group: Dataset, shared: Dataset) -> int:
    """By the place in space: programs that read a loop as a volume put frame i at i - 1 slices; else 0."""
    positions = items(group, "PlanePositionSequence")
    measures = items(shared, "PixelMeasuresSequence")
    if not positions or not measures:
        return 0
    place = positions[0].get("ImagePositionPatient")
    step = number(measures[0], "SpacingBetweenSlices", missing=0)
    step = step or number(measures[0], "SliceThickness", missing=0)
    if not isinstance(place, MultiValue) or len(place) != 3 or step <= 0:
        return 0
    slices = float(place[2]) / step
    is_one = math.isfinite(slices) and abs(slices - round(slices)) < _OFF_SLICE
    return round(slices) + 1 if is_one and 0 <= round(slices) < MOST_FRAMES else 0


def _only_instance(dataset: Dataset) -> str:
    """The image, if the whole file refers to a single one; otherwise ""."""
    found = referenced_instances(dataset)
    return found[0] if len(found) == 1 else ""


def referenced_instances(dataset: Dataset) -> list[str]:
    """SOP Instance UIDs of the images that a file names once for all frames."""
    found: list[Dataset] = []
    for series in items(dataset, "ReferencedSeriesSequence"):
        found += items(series, "ReferencedInstanceSequence")
    return [str(one.ReferencedSOPInstanceUID) for one in found]
