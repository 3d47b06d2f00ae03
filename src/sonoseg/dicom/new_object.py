"""What all written objects begin with: patient and study of the image, new identifiers, and who wrote them."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset, validate_file_meta

from sonoseg.dicom.damage import dicom_errors
from sonoseg.dicom.options import Options
from sonoseg.dicom.read import DicomFile
from sonoseg.dicom.source import (
    MANUFACTURER,
    Algorithm,
    content_time,
    new_uid,
    reference_dataset,
    referenced_class,
    software,
)

_LOSSY = (
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)
_OF_THE_INSTANCE = ("SOPInstanceUID", "InstanceNumber")


@dataclass(frozen=True)
class Kind:
    """A kind of objects: its SOP class, modality, and the number and description of its series.

    If it `is_alone`, each image has a series of its own: of several segmentations in one series, OHIF shows the first;
    of several reports, the last.
    """

    sop_class: str
    modality: str
    series_number: int
    description: str
    is_alone: bool = True


SEG = Kind("1.2.840.10008.5.1.4.1.1.66.4", "SEG", 9101, "lesions")
SR = Kind("1.2.840.10008.5.1.4.1.1.88.33", "SR", 9102, "measurements")
SC = Kind("1.2.840.10008.5.1.4.1.1.7", "OT", 9103, "overlay", False)


def new_object(
    file: DicomFile,
    kind: Kind,
    algorithm: Algorithm,
    options: Options,
    series: tuple[object, ...],
) -> Dataset:
    """An object about an image, without its content. `finish` gives it its identifier.

    Args:
        file: the image.
        kind: of object.
        algorithm: what outlined the lesions.
        options: see `Options`.
        series: what tells apart the series of this kind that are made of one series of images, besides the image.

    Raises:
        InputError: the image has no UIDs to refer to.
    """
    reference = reference_dataset(file, options.pseudonym)
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = kind.sop_class
    made.Modality, made.SeriesNumber = kind.modality, kind.series_number
    made.SeriesDescription = f"sonoseg {kind.description}"
    if kind.is_alone:
        # The number comes first, because viewers cut long descriptions.
        number = reference.InstanceNumber
        made.SeriesDescription = f"sonoseg, image {number}: {kind.description}"
        series += (reference.SOPInstanceUID,)
    made.Manufacturer = made.ManufacturerModelName = MANUFACTURER
    made.SoftwareVersions = software()
    made.DeviceSerialNumber = algorithm.sha256[:16]
    with dicom_errors(file.header.subject):
        for element in reference:
            if element.keyword not in _OF_THE_INSTANCE:
                made.add(element)
        if "PatientIdentityRemoved" in reference:
            made.DeidentificationMethod = "patient replaced by a keyed code"
        # So far there is only what all objects of a series share: patient, study, the series of the image, equipment.
        shared = _checksum(made)
        made.SeriesInstanceUID = new_uid(
            "series", shared, algorithm.sha256, algorithm.version, *series
        )
        made.InstanceNumber = int(reference.InstanceNumber)
    # The same input makes the same file, byte for byte, because its UID is the same.
    made.ContentDate, made.ContentTime = content_time(file, options.pseudonym)
    return made


def finish(made: Dataset, pixels: bytes | None = None) -> Dataset:
    """Adds the pixels, and the SOP Instance UID, which is made of everything that the object says.

    Objects that differ in anything, such as the patient, the side or a length, have different UIDs. Otherwise an
    archive would take a corrected object for one that it has already.

    Args:
        made: the object, complete but for its pixels.
        pixels: unsigned samples; None if it has none.
    """
    checksums = [_checksum(made)]
    if pixels is not None:
        checksums.append(hashlib.sha256(pixels).hexdigest())
        made.PixelData = pixels + b"\0" * (len(pixels) % 2)
        made["PixelData"].VR = "OB"
    made.SOPInstanceUID = new_uid("instance", *checksums)
    made.file_meta = _file_meta(made)
    made.preamble = bytes(128)
    return made


def _checksum(dataset: Dataset) -> str:
    """The sha256 of all elements and their values."""
    content = io.BytesIO()
    dataset.save_as(content, implicit_vr=False, little_endian=True)
    return hashlib.sha256(content.getbuffer()).hexdigest()


def add_image(made: Dataset, file: DicomFile, samples: int, bits: int) -> None:
    """Adds what images have: the size of a frame of `file`, unsigned samples of `bits` bits, and lossy compression."""
    made.Rows, made.Columns = file.shape
    made.SamplesPerPixel = samples
    made.PhotometricInterpretation = "RGB" if samples == 3 else "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = bits
    made.HighBit, made.PixelRepresentation = bits - 1, 0
    made.PatientOrientation = ""  # where the probe pointed is not known
    made.LossyImageCompression = "00"
    for name in _LOSSY:
        value = file.dataset.get(name)
        if value is not None:
            setattr(made, name, value)


def image_reference(file: DicomFile, frame: int | None = None) -> Dataset:
    """A reference to the image, or to one of its frames; None or a still refers to the whole image."""
    item = Dataset()
    item.ReferencedSOPClassUID = referenced_class(file)
    item.ReferencedSOPInstanceUID = file.header.instance
    if frame is not None and file.frames > 1:
        item.ReferencedFrameNumber = frame
    return item


def _file_meta(made: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # pydicom counts it when it writes
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    validate_file_meta(meta, enforce_standard=True)
    return meta
