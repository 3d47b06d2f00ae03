"""The way back: from any DICOM segmentation (SEG) to masks, one for each frame of the image."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.utils import iter_pixels

from sonoseg.core.source import check_dimensions
from sonoseg.dicom.damage import dicom_errors, integer, items, number
from sonoseg.dicom.header import (
    LABEL_MAP,
    MOST_FRAMES,
    SEGMENTATIONS,
    Header,
    open_dicom,
)
from sonoseg.dicom.stream import opened_stream, stream_size
from sonoseg.errors import InputError

Mask = NDArray[np.bool_]


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


@dataclass(frozen=True)
class SegFile:
    """A segmentation whose header is read, its pixels not.

    Attributes:
        header: the elements before the pixel data.
        places: for each frame of the file the image's SOP Instance UID, the image's frame, and the segment.
    """

    header: Header
    places: tuple[tuple[str, int, int], ...]

    def segment_frames(self, frame: int | None = None) -> Iterator[SegmentFrame]:
        """Decodes the frames one by one; a frame of a label map is yielded once for each label in it.

        Args:
            frame: only those of this frame of the image; None for all.

        Raises:
            InputError: the pixel data is damaged or cut short.
        """
        header = self.header
        wanted = [i for i, place in enumerate(self.places) if frame in (None, place[1])]
        with dicom_errors(header.subject):
            file = opened_stream(header.stream)
        # pydicom goes back to where the file stood when its generator ends: it must end first.
        with file, closing(iter_pixels(file, indices=wanted)) as decoded:  # type: ignore[type-var]
            for index in wanted:
                instance, place, segment = self.places[index]
                with dicom_errors(header.subject):
                    masks = list(self._masks(next(decoded), segment))
                for number, mask in masks:
                    yield SegmentFrame(instance, place, number, mask)

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
        InputError: not DICOM, not a segmentation, damaged, or pixel data of another length than its size says.
    """
    header = open_dicom(source)
    with dicom_errors(header.subject):
        dataset = header.dataset
        if str(dataset.get("SOPClassUID")) not in SEGMENTATIONS:
            problem = "is not a DICOM segmentation (SEG)"
            raise InputError(header.subject, problem, "give a SEG file")
        frames = integer(dataset, "NumberOfFrames")
        check_dimensions(
            header.subject, integer(dataset, "Columns"), integer(dataset, "Rows")
        )
        _check_frames(header, frames)
        return SegFile(header, tuple(_places(dataset, frames)))


def union_by_frame(
    seg: SegFile, instance: str | None = None, frame: int | None = None
) -> dict[int, Mask]:
    """For each frame of the image the union (H, W) bool of its segments.

    Args:
        seg: the segmentation.
        instance: SOP Instance UID of the image; None takes all.
        frame: number of the only frame that is wanted; None for all.
    """
    union: dict[int, Mask] = {}
    for one in seg.segment_frames(frame):
        if instance is None or one.instance in (instance, ""):
            known = union.get(one.frame)
            union[one.frame] = one.mask if known is None else known | one.mask
    return union


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


def _places(dataset: Dataset, frames: int) -> Iterator[tuple[str, int, int]]:
    shared = (items(dataset, "SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")
    only = _only_instance(dataset)
    for index in range(frames):
        group = groups[index] if index < len(groups) else Dataset()
        image = _source_image(group) or _source_image(shared) or Dataset()
        instance = str(image.get("ReferencedSOPInstanceUID") or only)
        frame = _frame_number(image, group) or _frame_by_position(group, shared)
        yield instance, frame, _segment_number(group, shared)


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
    """By the place in space: programs that read a loop as a volume put frame i at i - 1 slices; otherwise 1."""
    positions = items(group, "PlanePositionSequence")
    measures = items(shared, "PixelMeasuresSequence")
    if not positions or not measures:
        return 1
    place = positions[0].get("ImagePositionPatient")
    step = number(measures[0], "SpacingBetweenSlices", missing=0)
    step = step or number(measures[0], "SliceThickness", missing=0)
    if not isinstance(place, MultiValue) or len(place) != 3 or step <= 0:
        return 1
    frame = round(float(place[2]) / step) + 1
    return frame if 1 <= frame <= MOST_FRAMES else 1


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
