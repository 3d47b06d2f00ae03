"""Makes ultrasound DICOM files of pictures: for phantoms and tests. No patient data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from sonoseg.dicom.header import ULTRASOUND
from sonoseg.dicom.regions import Region
from sonoseg.dicom.source import MANUFACTURER, new_uid, software

_STILL, _LOOP = list(ULTRASOUND)[:2]
_CM_PER_MM = 0.1
_FRAME_TIME = 0x00181063


def make_image(
    frames: NDArray[np.uint8], regions: Sequence[Region], patient: str, name: str
) -> Dataset:
    """A gray ultrasound file of the breast, uncompressed.

    Args:
        frames: (N, H, W) uint8; one frame makes a still, more a loop.
        regions: where the B-mode images lie, with their spacing.
        patient: the patient's ID.
        name: from which the UIDs are made; the same name makes the same.
    """
    dataset = Dataset()
    is_loop = len(frames) > 1
    dataset.SOPClassUID = _LOOP if is_loop else _STILL
    dataset.SOPInstanceUID = new_uid("instance", name)
    dataset.StudyInstanceUID = new_uid("study", patient)
    dataset.SeriesInstanceUID = new_uid("series", patient)
    _describe(dataset, patient)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = frames.shape[1:]
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    if is_loop:
        dataset.NumberOfFrames = len(frames)
        dataset.FrameTime, dataset.FrameIncrementPointer = "40", _FRAME_TIME
    dataset.SequenceOfUltrasoundRegions = [_region_item(region) for region in regions]
    content = frames.tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OB"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset


def _describe(dataset: Dataset, patient: str) -> None:
    dataset.Modality, dataset.Manufacturer = "US", MANUFACTURER
    dataset.SoftwareVersions = software()
    dataset.PatientID, dataset.PatientName = patient, "Synthetic^Phantom"
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyDate = dataset.StudyTime = dataset.StudyID = ""
    dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.SeriesNumber = dataset.InstanceNumber = 1
    dataset.PatientOrientation = dataset.Laterality = None
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "BREAST", "0001"]
    dataset.BodyPartExamined = "BREAST"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"


def _region_item(region: Region) -> Dataset:
    item = Dataset()
    item.RegionSpatialFormat = item.RegionDataType = 1
    item.RegionFlags = 0
    item.RegionLocationMinX0, item.RegionLocationMinY0 = region.left, region.top
    item.RegionLocationMaxX1 = region.left + region.width - 1
    item.RegionLocationMaxY1 = region.top + region.height - 1
    row, column = region.spacing or (0.0, 0.0)
    unit = 0 if region.spacing is None else 3
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = unit
    item.PhysicalDeltaX, item.PhysicalDeltaY = column * _CM_PER_MM, row * _CM_PER_MM
    return item
