"""The codes that are written, and what each is used for (DICOM PS3.16; context groups in brackets)."""

from __future__ import annotations

from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset

ABNORMAL_STRUCTURE = CodedConcept(
    "49755003", "SCT", "Morphologically Abnormal Structure"
)
"""Category of a segment [7150]."""
MASS = CodedConcept("4147007", "SCT", "Mass")
"""Type of a segment [7159], finding of a measurement group."""
BREAST = CodedConcept("76752008", "SCT", "Breast")
LEFT_BREAST = CodedConcept("80248007", "SCT", "Left breast")
RIGHT_BREAST = CodedConcept("73056007", "SCT", "Right breast")
"""Anatomy [6022]."""
ULTRASOUND_OF_BREAST = CodedConcept("47079000", "SCT", "Ultrasonography of breast")
"""Procedure [6050]."""
MEASUREMENT_REPORT = CodedConcept("126000", "DCM", "Imaging Measurement Report")
LONG_AXIS = CodedConcept("103339001", "SCT", "Long Axis")
SHORT_AXIS = CodedConcept("103340004", "SCT", "Short Axis")
"""OHIF knows the two by these words, with a capital A."""
AREA = CodedConcept("42798000", "SCT", "Area")
MILLIMETRE = CodedConcept("mm", "UCUM", "mm")
SQUARE_MILLIMETRE = CodedConcept("mm2", "UCUM", "mm2")
ARTIFICIAL_INTELLIGENCE = CodedConcept("123110", "DCM", "Artificial Intelligence")
"""Algorithm family [7162]."""
COMMENT = CodedConcept("121106", "DCM", "Comment")
DEVICE = CodedConcept("121007", "DCM", "Device")
FINDING = CodedConcept("121071", "DCM", "Finding")
QUALITATIVE_EVALUATIONS = CodedConcept("C0034375", "UMLS", "Qualitative Evaluations")
_SIDES = {"L": LEFT_BREAST, "R": RIGHT_BREAST}


def breast_of(dataset: Dataset) -> CodedConcept:
    """The breast that the image shows: left, right, or no side where the file does not say."""
    side = dataset.get("ImageLaterality") or dataset.get("Laterality")
    return _SIDES.get(str(side or ""), BREAST)
