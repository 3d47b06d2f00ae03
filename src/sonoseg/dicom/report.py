"""Writes the measurements of lesions as a structured report (SR, PS3.16 TID 1500)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    ComprehensiveSR,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    TextContentItem,
    TrackingIdentifier,
)
from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset

from sonoseg.core.measure import Diameter
from sonoseg.dicom import codes
from sonoseg.dicom.damage import dicom_errors
from sonoseg.dicom.evaluations import add_evaluations, describe_outlines
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.seg import segment_uid
from sonoseg.dicom.source import (
    MANUFACTURER,
    NOTICE,
    Algorithm,
    as_single_frame,
    hidden_name,
    new_uid,
    reference_dataset,
    referenced_class,
    refuses_damage,
    restore_class,
)

SERIES_NUMBER = 9102
BIDIRECTIONAL = "Cornerstone3DTools@^0.1.0:Bidirectional"
"""The tracking identifier by which OHIF knows a pair of axes; others it does not show."""
NO_SCALE = "The size of a pixel is not known, so there are no lengths and areas."
_DECIMALS = 2
_NOTHING = Outline(1, 1, np.ones((1, 1), np.bool_), (0, 0), (1, 1), None)
"""Stands for a lesion while a report without one is made: highdicom does not make empty ones."""


@refuses_damage
def make_report(
    file: DicomFile,
    outlines: Sequence[Outline],
    algorithm: Algorithm,
    options: Options | None = None,
) -> ComprehensiveSR:
    """A report with long axis, short axis (mm) and area (mm²) of each lesion, and its descriptors.

    Of a lesion of a loop the frame counts on which it is largest. Lesions whose scale is not known are named without
    measurements, and a comment says why.

    Args:
        file: the image that was segmented.
        outlines: any number, also none.
        algorithm: what outlined them.
        options: see `sonoseg.dicom.options.Options`.

    Raises:
        InputError: the image has no UIDs to refer to.
    """
    options = options or Options()
    reference = reference_dataset(file, options.pseudonym)
    shown = largest_outlines(outlines)
    described = describe_outlines(file, shown)
    made_of = (algorithm.sha256, hidden_name(reference), *map(_summary, shown))
    malignancies = [outline.malignancy for outline in shown]
    made_of += (*map(str, described), *map(str, malignancies))
    with dicom_errors(file.header.subject):
        content = _content(file, shown, algorithm)
        report = ComprehensiveSR(
            evidence=[as_single_frame(reference)],
            content=content,
            series_instance_uid=new_uid(
                "SR series", reference.SeriesInstanceUID, *made_of[:2]
            ),
            series_number=SERIES_NUMBER,
            sop_instance_uid=new_uid("SR", reference.SOPInstanceUID, *made_of),
            instance_number=int(reference.InstanceNumber),
            manufacturer=MANUFACTURER,
            is_complete=True,
            is_verified=False,
        )
    add_evaluations(report, described, malignancies)
    restore_class(report, referenced_class(file))
    report.SeriesDescription = "sonoseg measurements"
    report.SoftwareVersions = algorithm.version
    report.PatientIdentityRemoved = "YES" if hidden_name(reference) else "NO"
    if hidden_name(reference):
        report.DeidentificationMethod = "patient replaced by a keyed code"
    return report


def largest_outlines(outlines: Sequence[Outline]) -> list[Outline]:
    """For each lesion the outline of the frame on which it is largest, in the order of the lesions' numbers."""
    largest: dict[int, Outline] = {}
    for outline in outlines:
        known = largest.get(outline.segment)
        if known is None or outline.area > known.area:
            largest[outline.segment] = outline
    return [largest[segment] for segment in sorted(largest)]


def _summary(outline: Outline) -> str:
    long, short = outline.axes()
    return f"{outline.segment}/{outline.frame}/{outline.area:.4f}/{long}/{short}"


def _content(
    file: DicomFile, outlines: Sequence[Outline], algorithm: Algorithm
) -> MeasurementReport:
    content = MeasurementReport(
        observation_context=_observer(algorithm),
        procedure_reported=codes.ULTRASOUND_OF_BREAST,
        imaging_measurements=[
            _group(file, one, algorithm) for one in outlines or [_NOTHING]
        ],
        title=codes.MEASUREMENT_REPORT,
    )
    items = content[0].ContentSequence
    if not outlines:
        _say_nothing_found(items[-1])
    for words in _comments(outlines):
        items.append(_text(codes.COMMENT, words))
    return content


def _say_nothing_found(container: Dataset) -> None:
    """Makes the container of measurements, which may not be empty, one of evaluations (TID 1500 row 9b)."""
    name = codes.QUALITATIVE_EVALUATIONS
    container.ConceptNameCodeSequence = [name]
    container.ContentSequence = [_text(codes.FINDING, "No lesion was found")]


def _comments(outlines: Sequence[Outline]) -> list[str]:
    words = [f"{NOTICE}."]
    if any(outline.spacing is None for outline in outlines):
        words.append(NO_SCALE)
    return words


def _text(name: CodedConcept, words: str) -> TextContentItem:
    return TextContentItem(
        name=name, value=words, relationship_type=RelationshipTypeValues.CONTAINS
    )


def _observer(algorithm: Algorithm) -> ObservationContext:
    device = DeviceObserverIdentifyingAttributes(
        uid=new_uid("device", algorithm.sha256),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=algorithm.name,
        serial_number=algorithm.sha256[:16],
    )
    observer = ObserverContext(
        observer_type=codes.DEVICE,
        observer_identifying_attributes=device,
    )
    return ObservationContext(observer_device_context=observer)


def _group(
    file: DicomFile, outline: Outline, algorithm: Algorithm
) -> MeasurementsAndQualitativeEvaluations:
    identifier = TrackingIdentifier(
        uid=segment_uid(file, algorithm, outline.segment), identifier=BIDIRECTIONAL
    )
    made_by = AlgorithmIdentification(
        name=algorithm.name,
        version=algorithm.version,
        parameters=[f"bundle sha256 {algorithm.sha256}"],
    )
    image = SourceImageForMeasurementGroup(
        referenced_sop_class_uid=referenced_class(file),
        referenced_sop_instance_uid=file.header.instance,
        referenced_frame_numbers=_frames(file, outline),
    )
    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=identifier,
        algorithm_id=made_by,
        finding_type=codes.MASS,
        finding_sites=[FindingSite(codes.breast_of(file.dataset))],
        measurements=_measurements(file, outline) or None,
        source_images=[image],
    )


def _frames(file: DicomFile, outline: Outline) -> list[int] | None:
    return [outline.frame] if file.frames > 1 else None


def _measurements(file: DicomFile, outline: Outline) -> list[Measurement]:
    if outline.spacing is None:
        return []
    long, short = outline.axes()
    return [
        _axis(file, outline, codes.LONG_AXIS, long),
        _axis(file, outline, codes.SHORT_AXIS, short),
        Measurement(
            name=codes.AREA,
            value=round(outline.area, _DECIMALS),
            unit=codes.SQUARE_MILLIMETRE,
        ),
    ]


def _axis(
    file: DicomFile, outline: Outline, name: CodedConcept, axis: Diameter
) -> Measurement:
    """A length with its two ends below it, where OHIF looks for them."""
    image = SourceImageForRegion(
        referenced_sop_class_uid=referenced_class(file),
        referenced_sop_instance_uid=file.header.instance,
        referenced_frame_numbers=_frames(file, outline),
    )
    ends = CoordinatesForMeasurement(
        graphic_type=GraphicTypeValues.POLYLINE,
        graphic_data=np.array([axis.start, axis.end], np.float64),
        source_image=image,
    )
    return Measurement(
        name=name,
        value=round(axis.length, _DECIMALS),
        unit=codes.MILLIMETRE,
        referenced_coordinates=[ends],
    )
