"""The header of a DICOM file: is it ultrasound that can be read, and do its sizes fit the file."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pydicom
from pydicom import uid
from pydicom.dataset import Dataset

from sonoseg.core.source import check_dimensions
from sonoseg.dicom.damage import dicom_errors, integer
from sonoseg.dicom.recognise import HEAD, is_dicom
from sonoseg.dicom.storage import PHOTOMETRIC, check_storage
from sonoseg.dicom.stream import (
    DicomSource,
    count_frames,
    opened_stream,
    plain_stream,
    stream_of,
    stream_size,
)
from sonoseg.errors import InputError, counted

ULTRASOUND = {
    "1.2.840.10008.5.1.4.1.1.6.1": "Ultrasound Image",
    "1.2.840.10008.5.1.4.1.1.3.1": "Ultrasound Multi-frame Image",
    "1.2.840.10008.5.1.4.1.1.6": "Ultrasound Image (retired)",
    "1.2.840.10008.5.1.4.1.1.3": "Ultrasound Multi-frame Image (retired)",
}
SECONDARY_CAPTURE = {
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture Image",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture Image",
}
"""Read if their modality is US."""
ENHANCED_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
WRITER = "sonoseg"
"""Manufacturer of the objects that sonoseg writes."""
LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", LABEL_MAP)
MOST_FRAMES = 100_000
_BYTES_A_FRAGMENT = 8
_LEFT_OPEN = 0xFFFFFFFF
"""Length of compressed pixel data, whose items follow."""
_AGAIN = "copy or export it again"
_MODALITY = re.compile("[A-Z0-9]{1,16}")


class NotUltrasound(InputError):
    """A DICOM file of another kind: in a folder it is skipped.

    Attributes:
        modality: such as CT; "other" if the file does not say.
    """

    def __init__(self, header: Header, problem: str, hint: str) -> None:
        super().__init__(header.subject, problem, hint)
        said = str(header.dataset.get("Modality") or "")
        self.modality = said if _MODALITY.fullmatch(said) else "other"


@dataclass(frozen=True)
class Header:
    """A DICOM file without its pixels.

    Attributes:
        dataset: all elements before the pixel data, and the file meta information.
        subject: what messages call the file: its path, or "image".
        stream: the file's path, or its content in memory with a preamble, from which pixels are decoded.
        frames: how many there are, at least 1.
        pixel_bytes: length of the pixel data as the file says; 0 if there are none, over 2³¹ if it is left open.
        pixels_at: where in the stream the pixel data begin, or of compressed ones the first item.
    """

    dataset: Dataset
    subject: str
    stream: Path | bytes
    frames: int = 1
    pixel_bytes: int = 0
    pixels_at: int = 0

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return integer(self.dataset, "Rows"), integer(self.dataset, "Columns")

    @property
    def instance(self) -> str:
        """The SOP Instance UID, "" if there is none."""
        return str(self.dataset.get("SOPInstanceUID", "") or "")


def read_header(source: DicomSource) -> Header:
    """Reads the header of an ultrasound file; see `sonoseg.dicom.read.read_dicom` for what is refused."""
    header = open_dicom(source)
    with dicom_errors(header.subject):
        _check_kind(header)
        check_storage(header.dataset, header.subject, PHOTOMETRIC, (8, 16, 32))
        frames = _count_frames(header)
        check_dimensions(header.subject, header.shape[1], header.shape[0])
        _check_length(header, frames)
    return replace(header, frames=frames)


def open_dicom(source: DicomSource) -> Header:
    """Reads the elements before the pixel data of any DICOM file.

    Raises:
        InputError: no such file, not DICOM, damaged, or compressed to over `MAX_BYTES` when inflated.
    """
    subject = str(source) if isinstance(source, (Path, str)) else "image"
    stream = stream_of(source)
    with opened_stream(stream) as file:
        head = file.read(HEAD)
    if not is_dicom(head):
        raise InputError(subject, "is not a DICOM file", "give a DICOM file")
    with dicom_errors(subject):
        stream = plain_stream(stream, head, subject)
        with opened_stream(stream) as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
            start = file.tell()
            pixel_bytes = _pixel_bytes(file.read(12), dataset)
            pixels_at = start + _length_place(dataset) + 4
    return Header(
        dataset, subject, stream, pixel_bytes=pixel_bytes, pixels_at=pixels_at
    )


def _pixel_bytes(head: bytes, dataset: Dataset) -> int:
    """The length of the pixel data, by the first 12 bytes of their element; 0 if they are of another one."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    order = ">" if syntax == uid.ExplicitVRBigEndian else "<"
    if len(head) < 12 or struct.unpack_from(f"{order}HH", head) != (0x7FE0, 0x10):
        return 0
    (length,) = struct.unpack_from(f"{order}I", head, _length_place(dataset))
    return int(length)


def _length_place(dataset: Dataset) -> int:
    """Where in the element of the pixels its length of 4 bytes lies: behind the tag, and the type if it is written."""
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    return 4 if syntax == uid.ImplicitVRLittleEndian else 8


def _check_kind(header: Header) -> None:
    dataset = header.dataset
    kind = str(dataset.get("SOPClassUID", "") or "")
    modality = str(dataset.get("Modality", "") or "")
    if kind in SECONDARY_CAPTURE and dataset.get("Manufacturer") == WRITER:
        problem = "is an overlay that sonoseg has written, not an image"
        raise NotUltrasound(
            header, problem, "give the ultrasound image that it belongs to"
        )
    if kind in ULTRASOUND or (kind in SECONDARY_CAPTURE and modality == "US"):
        return
    if kind == ENHANCED_VOLUME:
        problem = "is an Enhanced US Volume, a 3D image, which is not read"
        raise NotUltrasound(header, problem, "export its slices as ultrasound images")
    if kind in SEGMENTATIONS:
        problem = "is a segmentation (SEG), not an image"
        raise NotUltrasound(
            header, problem, "give the ultrasound image that it belongs to"
        )
    if (
        dataset.file_meta.get("MediaStorageSOPClassUID")
        == uid.MediaStorageDirectoryStorage
    ):
        problem = "is a DICOMDIR, a list of files"
        raise InputError(header.subject, problem, "give the folder in which it lies")
    if not kind:
        raise InputError(
            header.subject, "has no SOP Class UID, so its kind is unknown", _AGAIN
        )
    name = "Label Map Segmentation Storage" if kind == LABEL_MAP else uid.UID(kind).name
    problem = f"is not an ultrasound image ({name[:60]}, modality {modality[:16] or 'unknown'})"
    raise NotUltrasound(header, problem, "give ultrasound images")


def _count_frames(header: Header) -> int:
    frames = integer(header.dataset, "NumberOfFrames", missing=1) or 1
    if not 1 <= frames <= MOST_FRAMES:
        problem = f"says that it has {frames} frames"
        raise InputError(header.subject, problem, _AGAIN)
    return frames


def _held_frames(header: Header, most: int) -> int:
    """At least how many frames compressed pixel data holds, counted up to `most`; 0 if it cannot be told."""
    if header.pixel_bytes != _LEFT_OPEN:
        return 0
    with opened_stream(header.stream) as file:
        file.seek(header.pixels_at)
        return count_frames(file, most)


def _check_length(header: Header, frames: int) -> None:
    """Refuses more or fewer frames than the pixel data has, before any memory is taken for them."""
    dataset = header.dataset
    rows, columns = header.shape
    size = stream_size(header.stream)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        needed = frames * _BYTES_A_FRAGMENT
        has_more = _held_frames(header, frames + 1) > frames
    else:
        samples = rows * columns * integer(dataset, "SamplesPerPixel") * frames
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            samples = samples * 2 // 3
        needed = samples * integer(dataset, "BitsAllocated") // 8
        size = header.pixel_bytes if header.pixel_bytes < size else 0
        row = needed // (rows * frames)
        has_more = size >= needed + max(row, 2)  # less may be padding
    if needed <= size and not has_more:
        return
    pixels = f"{counted(frames, 'frame')} of {columns} × {rows} pixels"
    problem = f"is cut short: {pixels} do not fit in it"
    if has_more:
        problem = f"has more pixel data than {pixels}"
    elif size == 0:
        problem = "has no pixel data, or is cut short"
    raise InputError(header.subject, problem, _AGAIN)
