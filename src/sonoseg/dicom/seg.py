"""Writes outlines as a DICOM segmentation (SEG, PS3.3 A.51), for stills and for loops."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from sonoseg.core.measure import Spacing
from sonoseg.dicom import codes, new_object
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.new_object import add_image, image_reference
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.source import MANUFACTURER, Algorithm, new_uid, refuses_damage
from sonoseg.errors import InputError

_LEVELS = 255
_SEGMENT_NUMBER, _SEGMENT_IDENTIFICATION = 0x0062000B, 0x0062000A
_TEMPORAL_INDEX, _FRAME_CONTENT = 0x00209128, 0x00209111
_ORIENTATION = ["1", "0", "0", "0", "1", "0"]
COLOURS = (
    (86, 180, 233),
    (230, 159, 0),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""sRGB colours that people with any kind of colour vision tell apart (Okabe and Ito 2008)."""
_LAB = (
    (45761, 29808, 23959),
    (46273, 37131, 52089),
    (37842, 21141, 36174),
    (58401, 29471, 52288),
    (30129, 32193, 22263),
    (35512, 44018, 49160),
    (40007, 42800, 30170),
)
"""The same in CIE L*a*b* with the white of D50, in 16 bits (PS3.3 C.10.7.1.1)."""


@refuses_damage
def make_seg(
    file: DicomFile,
    outlines: Sequence[Outline],
    algorithm: Algorithm,
    options: Options | None = None,
) -> Dataset:
    """A BINARY segmentation: one segment a lesion, one frame for each frame on which a lesion was outlined.

    Args:
        file: the image that was segmented.
        outlines: at least one; see `sonoseg.dicom.lesions.Tracker`.
        algorithm: what outlined them.
        options: see `Options`.

    Raises:
        InputError: there is no outline, or the image has no UIDs to refer to.
    """
    if not outlines:
        problem = "no lesion was found, so there is no segment"
        raise InputError(file.header.subject, problem, "write a report")
    numbers = sorted({outline.segment for outline in outlines})
    # The standard wants segments numbered 1, 2, 3 (PS3.3 C.8.20.4); a tracker may have dropped one.
    places = {number: place for place, number in enumerate(numbers, start=1)}
    ordered = sorted(
        outlines, key=lambda outline: (places[outline.segment], outline.frame)
    )
    packed = _packed(outline.mask for outline in ordered)
    labels = [f"lesion {place}" for place in places.values()]
    frames = [(places[outline.segment], outline.frame) for outline in ordered]
    uids = lesion_uids(file, outlines, algorithm)
    segments = [
        (label, uids[number]) for label, number in zip(labels, numbers, strict=True)
    ]
    seg = _without_pixels(file, "BINARY", segments, algorithm, options)
    _add_frames(seg, file, frames, options or Options())
    seg.SegmentsOverlap = "NO"
    return new_object.finish(seg, packed)


@refuses_damage
def make_fractional_seg(
    file: DicomFile,
    probability: NDArray[np.float32],
    algorithm: Algorithm,
    options: Options | None = None,
) -> Dataset:
    """A FRACTIONAL segmentation of a still: the probability of each pixel to be lesion, in 255 steps.

    Args:
        file: an image of one frame.
        probability: (H, W) float32 in 0..1, of the whole frame.
        algorithm: what worked it out.
        options: see `Options`.

    Raises:
        InputError: the image is a loop, or the probability has another size.
    """
    if file.frames > 1 or probability.shape != file.shape:
        problem = "probabilities are written for single frames of the same size only"
        raise InputError(file.header.subject, problem, "write a binary segmentation")
    pixels = np.rint(probability * _LEVELS).astype(np.uint8).tobytes()
    checksum = hashlib.sha256(pixels).hexdigest()
    uid = new_uid("probability", file.header.instance, algorithm.sha256, checksum)
    segments = [("lesion probability", uid)]
    seg = _without_pixels(file, "FRACTIONAL", segments, algorithm, options)
    seg.SegmentationFractionalType = "PROBABILITY"
    seg.MaximumFractionalValue = _LEVELS
    _add_frames(seg, file, [(1, 1)], options or Options())
    return new_object.finish(seg, pixels)


def lesion_uids(
    file: DicomFile, outlines: Iterable[Outline], algorithm: Algorithm
) -> dict[int, str]:
    """The tracking UID of each lesion by its number. It is made of the lesion's outlines on all of its frames.

    So segmentation and report of the same outlines have the same UIDs, and no other lesion has them, whatever its
    number.
    """
    checksums: dict[int, Any] = {}
    for outline in sorted(outlines, key=lambda one: (one.frame, one.corner)):
        checksum = checksums.setdefault(outline.segment, hashlib.sha256())
        place = (outline.frame, *outline.corner, *outline.part.shape)
        checksum.update(repr(place).encode() + np.packbits(outline.part).tobytes())
    origin = file.header.instance, algorithm.sha256
    return {
        number: new_uid("tracking", *origin, checksum.hexdigest())
        for number, checksum in checksums.items()
    }


def _without_pixels(
    file: DicomFile,
    segmentation_type: str,
    segments: Sequence[tuple[str, str]],
    algorithm: Algorithm,
    options: Options | None,
) -> Dataset:
    """A segmentation with its segments, of which the labels and tracking UIDs are given, but without its frames."""
    options = options or Options()
    series: tuple[object, ...] = (segmentation_type, options.strict)
    if options.corrected_by is not None:
        series += (options.person,)
    seg = new_object.new_object(file, new_object.SEG, algorithm, options, series)
    seg.ImageType = ["DERIVED", "PRIMARY"]
    seg.ContentLabel = "LESIONS"
    seg.ContentDescription = f"bundle {algorithm.sha256[:40]}"
    seg.ContentCreatorName = options.person
    add_image(seg, file, samples=1, bits=1 if segmentation_type == "BINARY" else 8)
    seg.SegmentationType = segmentation_type
    image = image_reference(file)
    series_item = Dataset()
    series_item.SeriesInstanceUID = file.dataset.SeriesInstanceUID
    series_item.ReferencedInstanceSequence = [image]
    seg.ReferencedSeriesSequence = [series_item]
    items = []
    for number, (label, uid) in enumerate(segments, start=1):
        item = _segment(number, label, file, algorithm, options)
        item.TrackingUID = uid
        items.append(item)
    seg.SegmentSequence = items
    return seg


def _segment(
    number: int, label: str, file: DicomFile, algorithm: Algorithm, options: Options
) -> Dataset:
    made_by = Dataset()
    made_by.AlgorithmFamilyCodeSequence = [codes.ARTIFICIAL_INTELLIGENCE.item()]
    made_by.AlgorithmName = algorithm.name
    made_by.AlgorithmVersion = algorithm.version
    made_by.AlgorithmParameters = f"sha256={algorithm.sha256}"
    made_by.AlgorithmSource = MANUFACTURER
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, label
    segment.SegmentedPropertyCategoryCodeSequence = [codes.ABNORMAL_STRUCTURE.item()]
    segment.SegmentedPropertyTypeCodeSequence = [codes.MASS.item()]
    segment.AnatomicRegionSequence = [codes.breast_of(file.dataset).item()]
    segment.SegmentAlgorithmType = options.algorithm_type
    segment.SegmentAlgorithmName = algorithm.name
    segment.SegmentationAlgorithmIdentificationSequence = [made_by]
    segment.TrackingID = label
    segment.RecommendedDisplayCIELabValue = list(_LAB[(number - 1) % len(_LAB)])
    return segment


def _add_frames(
    seg: Dataset, file: DicomFile, frames: Sequence[tuple[int, int]], options: Options
) -> None:
    """Adds a frame for each pair of a segment and a frame of the image, both from 1."""
    seg.NumberOfFrames = len(frames)
    organization = Dataset()
    organization.DimensionOrganizationUID = new_uid("dimensions", file.header.instance)
    seg.DimensionOrganizationSequence = [organization]
    dimensions = [(_SEGMENT_NUMBER, _SEGMENT_IDENTIFICATION, "Segment Number")]
    if file.frames > 1:
        dimensions.append((_TEMPORAL_INDEX, _FRAME_CONTENT, "Temporal Position Index"))
    pointers = []
    for index, group, label in dimensions:
        pointer = Dataset()
        pointer.DimensionOrganizationUID = organization.DimensionOrganizationUID
        pointer.DimensionIndexPointer, pointer.FunctionalGroupPointer = index, group
        pointer.DimensionDescriptionLabel = label
        pointers.append(pointer)
    seg.DimensionIndexSequence = pointers
    seg.SharedFunctionalGroupsSequence = [_shared(file, options)]
    groups = []
    for segment, frame in frames:
        one = _frame_group(file, segment, frame)
        if not options.strict:
            position = Dataset()
            position.ImagePositionPatient = ["0", "0", str(frame - 1)]
            one.PlanePositionSequence = [position]
        groups.append(one)
    seg.PerFrameFunctionalGroupsSequence = groups


def _shared(file: DicomFile, options: Options) -> Dataset:
    """Size and direction of the planes, which OHIF wants; dcmqi wants the positions of the frames too."""
    shared = Dataset()
    if options.strict:
        return shared
    measures = Dataset()
    measures.PixelSpacing = [f"{one:.8g}" for one in _common_spacing(file)]
    measures.SliceThickness = "1"
    orientation = Dataset()
    orientation.ImageOrientationPatient = _ORIENTATION
    shared.PixelMeasuresSequence = [measures]
    shared.PlaneOrientationSequence = [orientation]
    return shared


def _frame_group(file: DicomFile, segment: int, frame: int) -> Dataset:
    image = image_reference(file, frame)
    image.PurposeOfReferenceCodeSequence = [codes.PROCESSED_SOURCE.item()]
    image.SpatialLocationsPreserved = "YES"
    derivation = Dataset()
    derivation.SourceImageSequence = [image]
    derivation.DerivationCodeSequence = [codes.SEGMENTATION.item()]
    identification = Dataset()
    identification.ReferencedSegmentNumber = segment
    content = Dataset()
    content.DimensionIndexValues = [segment]
    if file.frames > 1:
        content.DimensionIndexValues = [segment, frame]
        content.TemporalPositionIndex = frame
    group = Dataset()
    group.DerivationImageSequence = [derivation]
    group.SegmentIdentificationSequence = [identification]
    group.FrameContentSequence = [content]
    return group


def _packed(masks: Iterable[NDArray[np.bool_]]) -> bytes:
    """Masks as bits, one after the other without gaps, the first in the lowest bit (PS3.5 8.1.1)."""
    data = io.BytesIO()  # of a long loop they are too many to hold twice
    rest = np.zeros(0, np.bool_)
    for mask in masks:
        bits = np.concatenate([rest, mask.ravel()])
        full = len(bits) // 8 * 8
        data.write(np.packbits(bits[:full], bitorder="little").tobytes())
        rest = bits[full:]
    data.write(np.packbits(rest, bitorder="little").tobytes())
    return data.getvalue()


def _common_spacing(file: DicomFile) -> Spacing:
    """The spacing of all regions; 1 mm where they differ or it is not known, because viewers need a number."""
    spacings = {region.spacing for region in file.layout.regions}
    known = spacings.pop()
    return (1.0, 1.0) if spacings or known is None else known
