"""Writes outlines as a DICOM segmentation (SEG, PS3.3 A.51), for stills and for loops."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import highdicom
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items

from sonoseg.core.measure import Spacing
from sonoseg.dicom import codes
from sonoseg.dicom.damage import dicom_errors
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.source import (
    MANUFACTURER,
    Algorithm,
    as_single_frame,
    hidden_name,
    new_uid,
    reference_dataset,
    referenced_class,
    refuses_damage,
    restore_class,
    software,
)
from sonoseg.errors import InputError

SERIES_NUMBER = 9101
_LEVELS = 255
_TEMPORAL_INDEX = 0x00209128
_FRAME_CONTENT = 0x00209111
_ORIENTATION = ["1", "0", "0", "0", "1", "0"]


@refuses_damage
def make_seg(
    file: DicomFile,
    outlines: Sequence[Outline],
    algorithm: Algorithm,
    options: Options | None = None,
) -> Segmentation:
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
        raise InputError(
            file.header.subject,
            "no lesion was found, so there is no segment",
            "write a report",
        )
    options = options or Options()
    numbers = sorted({outline.segment for outline in outlines})
    # The standard wants segments numbered 1, 2, 3 (PS3.3 C.8.20.4); a tracker may have dropped one.
    places = {number: place for place, number in enumerate(numbers, start=1)}
    first = np.zeros((1, *file.shape, len(numbers)), np.uint8)
    first[0, 0, 0, :] = (
        1  # highdicom leaves empty frames out, and with them the segment's template
    )
    ordered = sorted(
        outlines, key=lambda outline: (places[outline.segment], outline.frame)
    )
    packed = _packed(outline.mask for outline in ordered)
    checksum = hashlib.sha256(packed).hexdigest()
    seg = _still(file, first, "BINARY", len(numbers), algorithm, options, checksum)
    _set_frames(seg, file, ordered, places)
    seg.PixelData = packed
    _add_positions(seg, file, options, [outline.frame for outline in ordered])
    return seg


@refuses_damage
def make_fractional_seg(
    file: DicomFile,
    probability: NDArray[np.float32],
    algorithm: Algorithm,
    options: Options | None = None,
) -> Segmentation:
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
    options = options or Options()
    pixels = probability[None, :, :, None].astype(np.float32)
    checksum = hashlib.sha256(pixels.tobytes()).hexdigest()
    seg = _still(file, pixels, "FRACTIONAL", 1, algorithm, options, checksum)
    _add_positions(seg, file, options, [1])
    return seg


def segment_uid(file: DicomFile, algorithm: Algorithm, segment: int) -> str:
    """The tracking UID of a lesion; segmentation and report of one run share it."""
    return new_uid("tracking", file.header.instance, algorithm.sha256, segment)


def _still(
    file: DicomFile,
    pixels: NDArray[Any],
    kind: str,
    segments: int,
    algorithm: Algorithm,
    options: Options,
    content: str,
) -> Segmentation:
    reference = reference_dataset(file, options.pseudonym)
    descriptions = [
        _description(file, number, algorithm, kind, options)
        for number in range(1, segments + 1)
    ]
    series: tuple[object, ...] = (
        algorithm.sha256,
        kind,
        options.strict,
        hidden_name(reference),
    )
    if options.is_corrected:
        series += ("corrected",)
    made_of = (*series, content)
    with dicom_errors(file.header.subject):
        seg = Segmentation(
            source_images=[as_single_frame(reference)],
            pixel_array=pixels,
            segmentation_type=kind,
            segment_descriptions=descriptions,
            series_instance_uid=new_uid(
                "SEG series", reference.SeriesInstanceUID, *series
            ),
            series_number=SERIES_NUMBER,
            sop_instance_uid=new_uid("SEG", reference.SOPInstanceUID, *made_of),
            instance_number=int(reference.InstanceNumber),
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=software(),
            device_serial_number=algorithm.sha256[:16],
            max_fractional_value=_LEVELS,
            omit_empty_frames=kind == "BINARY",
            content_label="LESIONS",
            content_description=f"bundle {algorithm.sha256[:40]}",
        )
    restore_class(seg, referenced_class(file))
    _finish(seg, reference)
    return seg


def _finish(seg: Segmentation, reference: Dataset) -> None:
    seg.SeriesDescription = "sonoseg lesions"
    seg.PatientOrientation = ""
    if "PatientIdentityRemoved" in reference:
        seg.PatientIdentityRemoved = "YES"
        seg.DeidentificationMethod = "patient replaced by a keyed code"
    organization = new_uid(seg.SOPInstanceUID, "dimensions")
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = organization


def _description(
    file: DicomFile, number: int, algorithm: Algorithm, kind: str, options: Options
) -> SegmentDescription:
    label = f"lesion {number}" if kind == "BINARY" else "lesion probability"
    identification = highdicom.AlgorithmIdentificationSequence(
        name=algorithm.name,
        family=codes.ARTIFICIAL_INTELLIGENCE,
        version=algorithm.version,
        source=MANUFACTURER,
        parameters={"sha256": algorithm.sha256},
    )
    return SegmentDescription(
        segment_number=number,
        segment_label=label,
        segmented_property_category=codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.MASS,
        algorithm_type=options.algorithm_type,
        algorithm_identification=identification,
        tracking_uid=segment_uid(file, algorithm, number),
        tracking_id=label,
        anatomic_regions=[codes.breast_of(file.dataset)],
    )


def _set_frames(
    seg: Segmentation,
    file: DicomFile,
    outlines: Sequence[Outline],
    places: dict[int, int],
) -> None:
    """Replaces the frames of the template by one for each outline."""
    template = seg.PerFrameFunctionalGroupsSequence[0]
    groups = [
        _frame_group(template, outline.frame, places[outline.segment], file.frames > 1)
        for outline in outlines
    ]
    if file.frames > 1:
        pointer = Dataset()
        pointer.DimensionIndexPointer = _TEMPORAL_INDEX
        pointer.FunctionalGroupPointer = _FRAME_CONTENT
        organization = seg.DimensionIndexSequence[0].DimensionOrganizationUID
        pointer.DimensionOrganizationUID = organization
        pointer.DimensionDescriptionLabel = "Temporal Position Index"
        seg.DimensionIndexSequence.append(pointer)
    for shared in seg.get("SharedFunctionalGroupsSequence", ()):
        if (
            "SegmentIdentificationSequence" in shared
        ):  # highdicom shares that of a single segment
            del shared.SegmentIdentificationSequence
    seg.PerFrameFunctionalGroupsSequence = Items(groups)  # type: ignore[assignment]
    seg.NumberOfFrames = len(groups)


def _frame_group(template: Dataset, frame: int, segment: int, is_loop: bool) -> Dataset:
    group = Dataset.from_json(template.to_json())  # a deep copy
    identification = Dataset()
    identification.ReferencedSegmentNumber = segment
    group.SegmentIdentificationSequence = Items([identification])
    content = group.FrameContentSequence[0]
    content.DimensionIndexValues = [segment, frame] if is_loop else [segment]
    if is_loop:
        content.TemporalPositionIndex = frame
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        image.ReferencedFrameNumber = frame
    return group


def _packed(masks: Iterable[NDArray[np.bool_]]) -> bytes:
    """Masks as bits, one after the other without gaps, the first in the lowest bit (PS3.5 8.1.1)."""
    data = bytearray()
    rest = np.zeros(0, np.bool_)
    for mask in masks:
        bits = np.concatenate([rest, mask.ravel()])
        full = len(bits) // 8 * 8
        data += np.packbits(bits[:full], bitorder="little").tobytes()
        rest = bits[full:]
    data += np.packbits(rest, bitorder="little").tobytes()
    return bytes(data) + b"\0" * (len(data) % 2)


def _add_positions(
    seg: Segmentation, file: DicomFile, options: Options, frames: Sequence[int]
) -> None:
    """Size and place of the planes: OHIF wants the first, dcmqi the second too."""
    if options.strict:
        return
    if not seg.get("SharedFunctionalGroupsSequence"):
        seg.SharedFunctionalGroupsSequence = Items([Dataset()])  # type: ignore[assignment]
    measures = Dataset()
    measures.PixelSpacing = [f"{one:.8g}" for one in _common_spacing(file)]
    measures.SliceThickness = "1"
    orientation = Dataset()
    orientation.ImageOrientationPatient = _ORIENTATION
    shared = seg.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence = Items([measures])
    shared.PlaneOrientationSequence = Items([orientation])
    for group, frame in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        position = Dataset()
        position.ImagePositionPatient = ["0", "0", str(frame - 1)]
        group.PlanePositionSequence = Items([position])


def _common_spacing(file: DicomFile) -> Spacing:
    """The spacing of all regions; 1 mm where they differ or it is not known, because viewers need a number."""
    spacings = {region.spacing for region in file.layout.regions}
    known = spacings.pop()
    return (1.0, 1.0) if spacings or known is None else known
