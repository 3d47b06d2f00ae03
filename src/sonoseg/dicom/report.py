"""Writes the measurements of lesions as a structured report (SR, PS3.16 TID 1500)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from sonoseg.core.measure import Diameter
from sonoseg.dicom import codes, new_object
from sonoseg.dicom.codes import Code
from sonoseg.dicom.content import (
    CONTAINS,
    code_item,
    content_item,
    number_item,
    text_item,
)
from sonoseg.dicom.evaluations import (
    add_evaluations,
    comments_of_person,
    describe_outlines,
    withhold,
)
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.new_object import image_reference
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.seg import lesion_uids
from sonoseg.dicom.source import (
    MANUFACTURER,
    NOTICE,
    Algorithm,
    new_uid,
    refuses_damage,
)

BIDIRECTIONAL = "Cornerstone3DTools@^0.1.0:Bidirectional"
"""The tracking identifier by which OHIF knows a pair of axes; others it does not show."""
NO_SCALE = "The size of a pixel is not known, so there are no lengths and areas."
DOUBTED = "there are doubts about the image"
_DECIMALS = 2
_MODIFIES = "HAS CONCEPT MOD"
_CONTEXT, _INFERRED, _SELECTED = "HAS OBS CONTEXT", "INFERRED FROM", "SELECTED FROM"


@refuses_damage
def make_report(
    file: DicomFile,
    outlines: Sequence[Outline],
    algorithm: Algorithm,
    options: Options | None = None,
    doubts: Sequence[str] | None = None,
) -> Dataset:
    """A report with long axis, short axis (mm) and area (mm²) of each lesion, and its descriptors.

    Of a lesion of a loop the frame counts on which it is largest. Lesions whose scale is not known are named without
    measurements, and a comment says why. A person who corrected or described them is named as an observer before the
    device. Then the coded descriptors are the words that this person chose, of the frame that counts.

    Args:
        file: the image that was segmented.
        outlines: any number, also none.
        algorithm: what outlined them.
        options: see `sonoseg.dicom.options.Options`.
        doubts: why the result should not be trusted, each in words; None takes those of the file's header. Each is a
            comment. If there are any, no probability of malignancy is given.

    Raises:
        InputError: the image has no UIDs to refer to.
    """
    options = options or Options()
    shown = largest_outlines(outlines)
    series = () if options.corrected_by is None else (options.person,)
    described = describe_outlines(file, shown)
    known = file.layout.doubts if doubts is None else doubts
    malignancies = [outline.malignancy for outline in shown]
    if known:
        malignancies = [withhold(one, DOUBTED) for one in malignancies]
    report = new_object.new_object(file, new_object.SR, algorithm, options, series)
    report.CompletionFlag, report.VerificationFlag = "COMPLETE", "UNVERIFIED"
    report.PreliminaryFlag = "FINAL"
    report.ReferencedPerformedProcedureStepSequence = []
    report.PerformedProcedureCodeSequence = []
    report.CurrentRequestedProcedureEvidenceSequence = [_evidence(file)]
    uids = lesion_uids(file, outlines, algorithm)
    groups = [_group(file, one, algorithm, uids[one.segment]) for one in shown]
    items = _report_items(groups, algorithm, options)
    for doubt in known:
        words = f"Do not trust this: {doubt}."
        items.append(text_item(CONTAINS, codes.COMMENT, words))
    for words in _about_scale(shown):
        items.append(text_item(CONTAINS, codes.COMMENT, words))
    report.update(_container(codes.MEASUREMENT_REPORT, items, "1500"))
    chosen = None
    if options.corrected_by is not None:
        chosen = [outline.chosen for outline in shown]
        for words in comments_of_person(outlines, options.person):
            report.ContentSequence.append(text_item(CONTAINS, codes.COMMENT, words))
    add_evaluations(report, described, malignancies, chosen)
    return new_object.finish(report)


def _about_scale(shown: Sequence[Outline]) -> list[str]:
    """Which lesions have no lengths."""
    unknown = [n for n, one in enumerate(shown, start=1) if one.spacing is None]
    if unknown and len(unknown) == len(shown):
        return [NO_SCALE]
    words = "the size of a pixel is not known, so it has no lengths and no area."
    return [f"Lesion {number}: {words}" for number in unknown]


def largest_outlines(outlines: Sequence[Outline]) -> list[Outline]:
    """For each lesion the outline of the frame on which it is largest, in the order of the lesions' numbers.

    Frames on which a person measured it come before others.
    """
    largest: dict[int, Outline] = {}
    for outline in outlines:
        known = largest.get(outline.segment)
        if known is None or _weight(outline) > _weight(known):
            largest[outline.segment] = outline
    return [largest[segment] for segment in sorted(largest)]


def _weight(outline: Outline) -> tuple[bool, float]:
    return outline.drawn is not None, outline.area


def _evidence(file: DicomFile) -> Dataset:
    series = Dataset()
    series.SeriesInstanceUID = file.dataset.SeriesInstanceUID
    series.ReferencedSOPSequence = [image_reference(file)]
    study = Dataset()
    study.StudyInstanceUID = file.dataset.StudyInstanceUID
    study.ReferencedSeriesSequence = [series]
    return study


def _report_items(
    groups: list[Dataset], algorithm: Algorithm, options: Options
) -> list[Dataset]:
    """The content of TID 1500, with the measurement groups."""
    items = [code_item(_MODIFIES, codes.LANGUAGE, codes.ENGLISH)]
    items += _person(options) + _device(algorithm)
    items.append(
        code_item(_MODIFIES, codes.PROCEDURE_REPORTED, codes.ULTRASOUND_OF_BREAST)
    )
    if groups:
        items.append(_inner(_container(codes.MEASUREMENTS, groups)))
    else:
        # A container of measurements may not be empty: this is one of evaluations (TID 1500 row 9b).
        nothing = text_item(CONTAINS, codes.FINDING, "No lesion was found")
        items.append(_inner(_container(codes.QUALITATIVE_EVALUATIONS, [nothing])))
    items.append(text_item(CONTAINS, codes.COMMENT, f"{NOTICE}."))
    return items


def _person(options: Options) -> list[Dataset]:
    """Who has corrected or described the outlines (TID 1003)."""
    if options.corrected_by is None:
        return []
    name = content_item("PNAME", _CONTEXT, codes.PERSON_NAME, PersonName=options.person)
    return [code_item(_CONTEXT, codes.OBSERVER_TYPE, codes.PERSON), name]


def _device(algorithm: Algorithm) -> list[Dataset]:
    """The network as an observer (TID 1004)."""
    uid = new_uid("device", algorithm.sha256)
    return [
        code_item(_CONTEXT, codes.OBSERVER_TYPE, codes.DEVICE),
        content_item("UIDREF", _CONTEXT, codes.DEVICE_UID, UID=uid),
        text_item(_CONTEXT, codes.DEVICE_NAME, MANUFACTURER),
        text_item(_CONTEXT, codes.DEVICE_MANUFACTURER, MANUFACTURER),
        text_item(_CONTEXT, codes.DEVICE_MODEL, algorithm.name),
        text_item(_CONTEXT, codes.DEVICE_SERIAL, algorithm.sha256[:16]),
    ]


def _group(
    file: DicomFile, outline: Outline, algorithm: Algorithm, uid: str
) -> Dataset:
    """The measurements of a lesion (TID 1501); `uid` is its tracking UID."""
    parameters = f"bundle sha256 {algorithm.sha256}"
    side = codes.breast_of(file.dataset)
    items = [
        text_item(_CONTEXT, codes.TRACKING_IDENTIFIER, BIDIRECTIONAL),
        content_item("UIDREF", _CONTEXT, codes.TRACKING_UID, UID=uid),
        code_item(CONTAINS, codes.FINDING, codes.MASS),
        code_item(_MODIFIES, codes.FINDING_SITE, side),
        text_item(_MODIFIES, codes.ALGORITHM_NAME, algorithm.name),
        text_item(_MODIFIES, codes.ALGORITHM_VERSION, algorithm.version),
        text_item(_MODIFIES, codes.ALGORITHM_PARAMETERS, parameters),
        *_measurements(file, outline),
        _image(CONTAINS, codes.SOURCE_OF_MEASUREMENT, file, outline),
    ]
    return _inner(_container(codes.MEASUREMENT_GROUP, items, "1501"))


def _measurements(file: DicomFile, outline: Outline) -> list[Dataset]:
    if outline.spacing is None:
        return []
    long, short = outline.axes()
    return [
        _axis(file, outline, codes.LONG_AXIS, long),
        _axis(file, outline, codes.SHORT_AXIS, short),
        _number(codes.AREA, outline.area, codes.SQUARE_MILLIMETRE),
    ]


def _axis(file: DicomFile, outline: Outline, name: Code, axis: Diameter) -> Dataset:
    """A length with its two ends below it, where OHIF looks for them."""
    ends = content_item(
        "SCOORD",
        _INFERRED,
        codes.SOURCE,
        GraphicType="POLYLINE",
        GraphicData=[*axis.start, *axis.end],
        ContentSequence=[_image(_SELECTED, codes.SOURCE, file, outline)],
    )
    number = _number(name, axis.length, codes.MILLIMETRE)
    number.ContentSequence = [ends]
    return number


def _number(name: Code, value: float, unit: Code) -> Dataset:
    return number_item(name, f"{round(value, _DECIMALS)}", unit)


def _image(relation: str, name: Code, file: DicomFile, outline: Outline) -> Dataset:
    reference = image_reference(file, outline.frame)
    return content_item("IMAGE", relation, name, ReferencedSOPSequence=[reference])


def _inner(container: Dataset) -> Dataset:
    container.RelationshipType = CONTAINS
    return container


def _container(name: Code, items: list[Dataset], template: str = "") -> Dataset:
    container = Dataset()
    container.ValueType, container.ContinuityOfContent = "CONTAINER", "CONTINUOUS"
    container.ConceptNameCodeSequence = [name.item()]
    container.ContentSequence = items
    if template:
        identified = Dataset()
        identified.MappingResource = "DCMR"
        identified.TemplateIdentifier = template
        container.ContentTemplateSequence = [identified]
    return container
