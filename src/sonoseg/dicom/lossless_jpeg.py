"""Checks JPEG data before GDCM decodes it: where it contradicts the header, GDCM ends the whole process."""

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

BY_GDCM = (uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGExtended12Bit)
"""What no other decoder of the extra reads."""
_START, _SCAN = 0xD8, 0xDA
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC3)
"""Markers of a frame: baseline, extended, progressive, lossless."""


def check_frames(header: Header, indices: Iterable[int]) -> Iterator[None]:
    """Checks the frames one after the other, each when the next value is asked for; other forms are not looked at.

    Raises:
        InputError: the JPEG data of a frame is of another size or has other samples than the header says.
    """
    if header.dataset.file_meta.TransferSyntaxUID not in BY_GDCM:
        for _ in indices:
            yield
        return
    with closing(opened_stream(header.stream)) as file:
        with dicom_errors(header.subject):
            pydicom.dcmread(file, stop_before_pixels=True)
            file.seek(12, 1)  # tag, type and length of the pixel data
            place = file.tell()
        for index in indices:
            file.seek(place)
            with dicom_errors(header.subject):
                data = encaps.get_frame(file, index, number_of_frames=header.frames)
                _check(header, data)
            yield


def _check(header: Header, data: bytes) -> None:
    bits, rows, columns, samples = _described(data)
    dataset = header.dataset
    stored, allocated = (
        integer(dataset, "BitsStored"),
        integer(dataset, "BitsAllocated"),
    )
    fits = (
        (rows, columns) == header.shape
        and samples == integer(dataset, "SamplesPerPixel")
        and bits <= stored
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
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    raise ValueError("no JPEG data")
