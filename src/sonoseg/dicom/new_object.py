"""What all written objects begin with: patient and study of the image, new identifiers, and who wrote them."""

from __future__ import annotations

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
    hidden_name,
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


@dataclass(frozen=True)
class Kind:
    """A kind of objects: its short name, SOP class, modality, and the number and description of its series."""

    name: str
    sop_class: str
    modality: str
    series_number: int
    description: str


SEG = Kind("SEG", "1.2.840.10008.5.1.4.1.1.66.4", "SEG", 9101, "sonoseg lesions")
SR = Kind("SR", "1.2.840.10008.5.1.4.1.1.88.33", "SR", 9102, "sonoseg measurements")
SC = Kind("SC", "1.2.840.10008.5.1.4.1.1.7", "OT", 9103, "sonoseg overlay")


def new_object(
    file: DicomFile,
    kind: Kind,
    algorithm: Algorithm,
    options: Options,
    series: tuple[object, ...],
    content: tuple[object, ...],
) -> Dataset:
    """An object about an image, without its content.

    Args:
        file: the image.
        kind: of object.
        algorithm: what outlined the lesions.
        options: see `Options`.
        series: what tells apart the series of this kind that are made of one series of images.
        content: what tells apart the objects of one image in such a series.

    Raises:
        InputError: the image has no UIDs to refer to.
    """
    reference = reference_dataset(file, options.pseudonym)
    made_of = (algorithm.sha256, hidden_name(reference), *series)
    made = Dataset()
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = kind.sop_class
    made.SOPInstanceUID = new_uid(
        kind.name, reference.SOPInstanceUID, *made_of, *content
    )
    made.SeriesInstanceUID = new_uid(
        f"{kind.name} series", reference.SeriesInstanceUID, *made_of
    )
    made.Modality, made.SeriesNumber = kind.modality, kind.series_number
    made.SeriesDescription = kind.description
    made.Manufacturer = made.ManufacturerModelName = MANUFACTURER
    made.SoftwareVersions = software()
    made.DeviceSerialNumber = algorithm.sha256[:16]
    # The same input makes the same file, byte for byte, because its UID is the same.
    made.ContentDate, made.ContentTime = content_time(file, options.pseudonym)
    with dicom_errors(file.header.subject):
        made.InstanceNumber = int(reference.InstanceNumber)
        for element in reference:
            if element.keyword not in made:
                made.add(element)
    if hidden_name(reference):
        made.PatientIdentityRemoved = "YES"
        made.DeidentificationMethod = "patient replaced by a keyed code"
    made.file_meta = _file_meta(made)
    made.preamble = bytes(128)
    return made


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
