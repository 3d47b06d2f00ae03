"""The header of a DICOM file: is it ultrasound that can be read, and do its sizes fit the file."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pydicom
from pydicom import uid
from pydicom.dataset import Dataset

from sonoseg.core.source import MAX_BYTES, check_dimensions, quiet
from sonoseg.dicom.recognise import (
    HEAD,
    PREAMBLE,
    element_order,
    has_explicit_types,
    is_dicom,
)
from sonoseg.errors import InputError
from sonoseg.inputs import readable_file

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
PHOTOMETRIC = (
    "MONOCHROME1",
    "MONOCHROME2",
    "PALETTE COLOR",
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
)
MOST_FRAMES = 100_000
_BYTES_A_FRAGMENT = 8
_AGAIN = "copy or export it again"
_META_START = HEAD
_LONG_TYPES = (b"OB", b"OW", b"SQ", b"UN", b"UT")


DicomSource = Path | str | bytes | bytearray | memoryview | IO[bytes] | Dataset
"""A path, the content of a file, an open file, or a pydicom data set."""


class NotUltrasound(InputError):
    """A DICOM file of another kind: in a folder it is passed over."""


@dataclass(frozen=True)
class Header:
    """A DICOM file without its pixels.

    Attributes:
        dataset: all elements before the pixel data, and the file meta information.
        subject: what messages call the file: its path, or "image".
        stream: the file's path, or its content in memory with a preamble, from which pixels are decoded.
        frames: how many there are, at least 1.
    """

    dataset: Dataset
    subject: str
    stream: Path | bytes
    frames: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return int(self.dataset.Rows), int(self.dataset.Columns)

    @property
    def instance(self) -> str:
        """The SOP Instance UID, "" if there is none."""
        return str(self.dataset.get("SOPInstanceUID", "") or "")


@contextlib.contextmanager
def dicom_errors(subject: str) -> Iterator[None]:
    """Turns whatever pydicom and its decoders raise into an InputError, and holds back their warnings."""
    try:
        with quiet():
            yield
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            subject, "not enough memory to read it", "split the loop"
        ) from error
    except Exception as error:  # damaged files make pydicom raise nearly anything
        raise InputError(subject, "is damaged DICOM or cut short", _AGAIN) from error


def read_header(source: DicomSource) -> Header:
    """Reads the header of an ultrasound file; see `sonoseg.dicom.read.read_dicom` for what is refused."""
    header = open_dicom(source)
    with dicom_errors(header.subject):
        _check_kind(header)
        _check_storage(header)
        frames = _count_frames(header)
        check_dimensions(header.subject, header.shape[1], header.shape[0])
        _check_length(header, frames)
    return Header(header.dataset, header.subject, header.stream, frames)


def open_dicom(source: DicomSource) -> Header:
    """Reads the elements before the pixel data of any DICOM file.

    Raises:
        InputError: no such file, not DICOM, damaged, or compressed to over `MAX_BYTES` when inflated.
    """
    subject = str(source) if isinstance(source, (Path, str)) else "image"
    stream = _stream_of(source)
    with opened_stream(stream) as file:
        head = file.read(HEAD)
    if not is_dicom(head):
        raise InputError(subject, "is not a DICOM file", "give a DICOM file")
    with dicom_errors(subject):
        stream = _plain_stream(stream, head, subject)
        with opened_stream(stream) as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True)
        _swap_palettes(dataset)
    return Header(dataset, subject, stream)


def _stream_of(source: DicomSource) -> Path | bytes:
    """The path of a source, or its content."""
    if isinstance(source, (Path, str)):
        return readable_file(source)
    if isinstance(source, Dataset):
        buffer = io.BytesIO()
        with dicom_errors("image"):
            source.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    with dicom_errors("image"):
        if source.seekable():
            source.seek(0)
        content = source.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        problem = f"is over {MAX_BYTES // 10**6} MB"
        raise InputError("image", problem, "give the path of the file")
    return content


def opened_stream(stream: Path | bytes) -> Any:
    """A header's stream as a binary file, to be closed by the caller."""
    return io.BytesIO(stream) if isinstance(stream, bytes) else stream.open("rb")


def stream_size(stream: Path | bytes) -> int:
    """Bytes of a header's stream."""
    return len(stream) if isinstance(stream, bytes) else stream.stat().st_size


def _plain_stream(stream: Path | bytes, head: bytes, subject: str) -> Path | bytes:
    """The stream itself, or its content with a preamble, or inflated, if need be."""
    has_preamble = head[PREAMBLE:HEAD] == b"DICM"
    if not has_preamble:
        content = _content(stream, subject)
        if content[:2] == b"\x02\x00":
            return bytes(PREAMBLE) + b"DICM" + content
        return _meta(_guessed_syntax(head)) + content
    syntax, start = _read_meta(stream)
    if syntax != uid.DeflatedExplicitVRLittleEndian:
        return stream
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = inflater.decompress(_content(stream, subject)[start:], MAX_BYTES)
    if inflater.unconsumed_tail:
        problem = f"is over {MAX_BYTES // 10**6} MB when it is inflated"
        raise InputError(subject, problem, "export it without compression")
    return _meta(uid.ExplicitVRLittleEndian) + inflated


def _content(stream: Path | bytes, subject: str) -> bytes:
    if stream_size(stream) > MAX_BYTES:
        raise InputError(
            subject, f"is over {MAX_BYTES // 10**6} MB", "export it with a preamble"
        )
    return stream if isinstance(stream, bytes) else stream.read_bytes()


def _guessed_syntax(head: bytes) -> str:
    if not has_explicit_types(head):
        return str(uid.ImplicitVRLittleEndian)
    is_little = element_order(head) == "<"
    return str(uid.ExplicitVRLittleEndian if is_little else uid.ExplicitVRBigEndian)


def _meta(syntax: str) -> bytes:
    """A preamble and file meta information that says nothing but the transfer syntax."""
    value = syntax.encode()
    value += b"\0" * (len(value) % 2)
    element = struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(element))
    return bytes(PREAMBLE) + b"DICM" + length + element


def _swap_palettes(dataset: Dataset) -> None:
    """Puts the tables of a palette into little-endian order, which pydicom takes them to be in."""
    if dataset.file_meta.get("TransferSyntaxUID") != uid.ExplicitVRBigEndian:
        return
    for colour in ("Red", "Green", "Blue"):
        name = f"{colour}PaletteColorLookupTableData"
        table = dataset.get(name)
        if table:
            setattr(dataset, name, np.frombuffer(table, np.uint16).byteswap().tobytes())


def _read_meta(stream: Path | bytes) -> tuple[str, int]:
    """The transfer syntax of a file with a preamble ("" if it has none), and where its data set begins."""
    with opened_stream(stream) as file:
        file.seek(_META_START)
        content = file.read(1 << 16)
    syntax, place = "", 0
    while place + 8 <= len(content):
        group, element, kind, length = struct.unpack_from("<HH2sH", content, place)
        if group != 2:
            break
        place += 8
        if kind in _LONG_TYPES:
            (length,) = struct.unpack_from("<I", content, place)
            place += 4
        if element == 0x10:
            syntax = (
                content[place : place + length]
                .rstrip(b"\0 ")
                .decode("ascii", "replace")
            )
        place += length
    return syntax, _META_START + place


def _check_kind(header: Header) -> None:
    dataset = header.dataset
    kind = str(dataset.get("SOPClassUID", "") or "")
    modality = str(dataset.get("Modality", "") or "")
    if kind in SECONDARY_CAPTURE and dataset.get("Manufacturer") == WRITER:
        problem = "is an overlay that sonoseg has written, not an image"
        raise NotUltrasound(
            header.subject, problem, "give the ultrasound image that it belongs to"
        )
    if kind in ULTRASOUND or (kind in SECONDARY_CAPTURE and modality == "US"):
        return
    if kind == ENHANCED_VOLUME:
        problem = "is an Enhanced US Volume, a 3D image, which is not read"
        raise NotUltrasound(
            header.subject, problem, "export its slices as ultrasound images"
        )
    if kind in SEGMENTATIONS:
        problem = "is a segmentation (SEG), not an image"
        raise NotUltrasound(
            header.subject, problem, "give the ultrasound image that it belongs to"
        )
    if not kind:
        raise InputError(
            header.subject, "does not say what it is (no SOP Class UID)", _AGAIN
        )
    name = "Label Map Segmentation Storage" if kind == LABEL_MAP else uid.UID(kind).name
    problem = (
        f"is no ultrasound image ({name[:60]}, modality {modality[:16] or 'unknown'})"
    )
    raise NotUltrasound(header.subject, problem, "give ultrasound images")


def _check_storage(header: Header) -> None:
    colours = str(header.dataset.PhotometricInterpretation)
    if colours not in PHOTOMETRIC:
        problem = f"has pixels of the kind {colours[:20]}, which are not read"
        raise InputError(header.subject, problem, "export it as RGB or MONOCHROME2")
    syntax = header.dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        raise InputError(header.subject, "does not say how it is stored", _AGAIN)
    if "MPEG" in syntax.name or "HEVC" in syntax.name:
        problem = f"is a video ({syntax.name}), which is not read from DICOM"
        raise InputError(
            header.subject, problem, "export the loop as MP4, or uncompressed"
        )
    if syntax.is_private or (syntax.is_encapsulated and syntax.name == syntax):
        problem = f"is stored in a form that is not known ({str(syntax)[:64]})"
        raise InputError(header.subject, problem, "export it uncompressed")


def _count_frames(header: Header) -> int:
    frames = int(header.dataset.get("NumberOfFrames", 1) or 1)
    if not 1 <= frames <= MOST_FRAMES:
        problem = f"says that it has {frames} frames"
        raise InputError(header.subject, problem, _AGAIN)
    return frames


def _check_length(header: Header, frames: int) -> None:
    """Refuses more frames than the file has room for, before any memory is taken for them."""
    dataset = header.dataset
    rows, columns = header.shape
    size = stream_size(header.stream)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        needed = frames * _BYTES_A_FRAGMENT
    else:
        samples = rows * columns * int(dataset.SamplesPerPixel) * frames
        if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
            samples = samples * 2 // 3
        needed = samples * int(dataset.BitsAllocated) // 8
    if needed > size:
        problem = f"is cut short: {frames} frames of {columns} × {rows} pixels do not fit in it"
        raise InputError(header.subject, problem, _AGAIN)
