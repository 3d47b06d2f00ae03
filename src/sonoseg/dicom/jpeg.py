"""Checks JPEG, JPEG-LS and JPEG 2000 data against the header before they are decoded.

Where they differ, GDCM ends the whole process, and others return samples that are cut or lie in other rows.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import closing

import pydicom
from pydicom import encaps, uid

from sonoseg.dicom.damage import dicom_errors, integer
from sonoseg.dicom.header import Header
from sonoseg.dicom.stream import opened_stream
from sonoseg.errors import InputError

LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
BY_GDCM = (*LOSSLESS, uid.JPEGExtended12Bit)
"""What no other decoder of the extra reads."""
_EXTENDED_BITS = 8
"""Of more, pydicom 3.0.2 does not let GDCM decode JPEG Extended."""
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000)
CHECKED = (
    uid.JPEGBaseline8Bit,
    *BY_GDCM,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    *_JPEG_2000,
)
_START, _SCAN = 0xD8, 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3, 0xF7)
"""Markers of a frame: baseline, extended, progressive, lossless, JPEG-LS."""
_CODE_STREAM = b"\xff\x4f\xff\x51"
"""How JPEG 2000 begins, perhaps within a file format (ISO/IEC 15444-1 A.4.1, A.5.1)."""


def check_frames(header: Header, indices: Iterable[int]) -> Iterator[None]:
    """Checks the frames one after the other, each when the next value is asked for; other forms are not looked at.

    Raises:
        InputError: the JPEG data of a frame is of another size or has other samples than the header says, or
            cannot be decoded.
    """
    syntax = header.dataset.file_meta.TransferSyntaxUID
    if syntax not in CHECKED:
        for _ in indices:
            yield
        return
    described = _described_2000 if syntax in _JPEG_2000 else _described
    with closing(opened_stream(header.stream)) as file:
        with dicom_errors(header.subject):
            pydicom.dcmread(file, stop_before_pixels=True)
            file.seek(12, 1)  # tag, type and length of the pixel data
            place = file.tell()
        for index in indices:
            file.seek(place)
            with dicom_errors(header.subject):
                data = encaps.get_frame(file, index, number_of_frames=header.frames)
                _check(header, *described(data))
            yield


def _check(header: Header, bits: int, rows: int, columns: int, samples: int) -> None:
    dataset = header.dataset
    allocated = integer(dataset, "BitsAllocated")
    # Of lossless JPEG, DCMTK and GDCM write all bits that are allocated, not only those that are stored.
    is_extended = dataset.file_meta.TransferSyntaxUID == uid.JPEGExtended12Bit
    stored = integer(dataset, "BitsStored")
    most = stored if is_extended else allocated
    if is_extended and stored > _EXTENDED_BITS:
        problem = f"has JPEG Extended data of {stored} bits, which cannot be decoded"
        raise InputError(header.subject, problem, "export it without compression")
    fits = (
        (rows, columns) == header.shape
        and samples == integer(dataset, "SamplesPerPixel")
        and bits <= most
        and allocated <= 16
    )
    if not fits:
        problem = f"has JPEG data of {columns} × {rows} pixels with {samples} samples of {bits} bits"
        raise InputError(
            header.subject, f"{problem}, unlike its header", "export it again"
        )


def _described(data: bytes) -> tuple[int, int, int, int]:
    """Bits, rows, columns and samples of a JPEG, by its frame marker.

    Raises:
        ValueError: there is none.
    """
    place = 2
    while place + 10 <= len(data) and data[1] == _START and data[place] == 0xFF:
        kind = data[place + 1]
        if kind in _FRAMES:
            return struct.unpack_from(">BHHB", data, place + 4)
        if kind == _SCAN:
            break
        if kind == 0xFF:  # a marker may be filled up in front (ISO/IEC 10918-1 B.1.1.2)
            place += 1
            continue
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise ValueError("no JPEG data")


def _described_2000(data: bytes) -> tuple[int, int, int, int]:
    """The same of a JPEG 2000 stream. The bits are those of its first component.

    Raises:
        ValueError: it is none; struct.error: it is cut short.
    """
    place = data.find(_CODE_STREAM)
    if place < 0:
        raise ValueError("no JPEG 2000 data")
    right, bottom, left, top = struct.unpack_from(">4I", data, place + 8)
    samples, depth = struct.unpack_from(">HB", data, place + 40)
    return (depth & 0x7F) + 1, bottom - top, right - left, samples
