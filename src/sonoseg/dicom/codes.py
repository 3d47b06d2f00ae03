"""The codes that are written, and what each is used for (DICOM PS3.16; context groups in brackets)."""

from __future__ import annotations

from typing import NamedTuple

from pydicom.dataset import Dataset


class Code(NamedTuple):
    """A coded concept (PS3.3 8.8): its value, the scheme that defines it, and what it means."""

    value: str
    scheme: str
    meaning: str

    def item(self) -> Dataset:
        """The item of a code sequence."""
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = self
        return item


ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
"""Category of a segment [7150]."""
MASS = Code("4147007", "SCT", "Mass")
"""Type of a segment [7159], finding of a measurement group."""
BREAST = Code("76752008", "SCT", "Breast")
LEFT_BREAST = Code("80248007", "SCT", "Left breast")
RIGHT_BREAST = Code("73056007", "SCT", "Right breast")
"""Anatomy [6022]."""
ULTRASOUND_OF_BREAST = Code("47079000", "SCT", "Ultrasonography of breast")
"""Procedure [6050]."""
SEGMENTATION = Code("113076", "DCM", "Segmentation")
"""How the frames of a SEG were derived [7203]."""
PROCESSED_SOURCE = Code("121322", "DCM", "Source image for image processing operation")
"""Why a SEG refers to its image [7202]."""
MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
LONG_AXIS = Code("103339001", "SCT", "Long Axis")
SHORT_AXIS = Code("103340004", "SCT", "Short Axis")
"""OHIF knows the two by these words, with a capital A."""
AREA = Code("42798000", "SCT", "Area")
MILLIMETRE = Code("mm", "UCUM", "mm")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "mm2")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
"""Algorithm family [7162]."""
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_PARAMETERS = Code("111002", "DCM", "Algorithm Parameters")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
COMMENT = Code("121106", "DCM", "Comment")
FINDING = Code("121071", "DCM", "Finding")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")
TRACKING_IDENTIFIER = Code("112039", "DCM", "Tracking Identifier")
TRACKING_UID = Code("112040", "DCM", "Tracking Unique Identifier")
SOURCE = Code("260753009", "SCT", "Source")
SOURCE_OF_MEASUREMENT = Code("121112", "DCM", "Source of Measurement")
LANGUAGE = Code("121049", "DCM", "Language of Content Item and Descendants")
ENGLISH = Code("en-US", "RFC5646", "English (United States)")
PROCEDURE_REPORTED = Code("121058", "DCM", "Procedure reported")
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
OBSERVER_TYPE = Code("121005", "DCM", "Observer Type")
PERSON = Code("121006", "DCM", "Person")
DEVICE = Code("121007", "DCM", "Device")
PERSON_NAME = Code("121008", "DCM", "Person Observer Name")
DEVICE_UID = Code("121012", "DCM", "Device Observer UID")
DEVICE_NAME = Code("121013", "DCM", "Device Observer Name")
DEVICE_MANUFACTURER = Code("121014", "DCM", "Device Observer Manufacturer")
DEVICE_MODEL = Code("121015", "DCM", "Device Observer Model Name")
DEVICE_SERIAL = Code("121016", "DCM", "Device Observer Serial Number")
"""Who observed (TID 1002 to 1004)."""
_SIDES = {"L": LEFT_BREAST, "R": RIGHT_BREAST}


def breast_of(dataset: Dataset) -> Code:
    """The breast that the image shows: left, right, or no side where the file does not say."""
    side = dataset.get("ImageLaterality") or dataset.get("Laterality")
    return _SIDES.get(str(side or ""), BREAST)
