"""Decodes the pixels of a DICOM file, one frame at a time."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Generator, Iterable, Iterator
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.pixels.utils import iter_pixels

from sonoseg.dicom.damage import dicom_errors, integer
from sonoseg.dicom.header import Header
from sonoseg.dicom.jpeg import BY_GDCM, CHECKED, LOSSLESS, check_frames
from sonoseg.dicom.stream import opened_stream
from sonoseg.errors import InputError

Pixels = NDArray[Any]
_DECODERS = {
    uid.JPEGBaseline8Bit: "pillow",
    uid.JPEGLSLossless: "pyjpegls",
    uid.JPEGLSNearLossless: "pyjpegls",
    uid.JPEG2000Lossless: "pillow",
    uid.JPEG2000: "pillow",
}
"""pydicom would ask GDCM first, which ends the process where header and JPEG data differ."""
_DAMAGE = re.compile(
    rb"(Corrupt JPEG data|Bogus |Invalid (JPEG file|SOS|progressive|component|scan|memory)|Unsupported marker type"
    rb"|JPEG datastream contains no image)"
)
"""How libjpeg begins what it says of damaged data, a line each."""


def iter_frames(
    header: Header, indices: Iterable[int] | None = None
) -> Generator[Pixels]:
    """Decodes the frames one after the other: (H, W) samples or palette indices, or (H, W, 3) RGB.

    Args:
        header: of the file, its number of frames checked.
        indices: which frames, from 0; None for all.

    Raises:
        InputError: the pixel data is damaged or cut short, or unlike the header.
    """
    wanted = list(range(header.frames) if indices is None else indices)
    with dicom_errors(header.subject):
        file = opened_stream(header.stream)
    syntax = header.dataset.file_meta.TransferSyntaxUID
    photometric = header.dataset.get("PhotometricInterpretation")
    plugin = _DECODERS.get(syntax, "")
    options: dict[str, Any] = {}
    if syntax in LOSSLESS:
        # GDCM ends the process if JPEG data has more bits than these. pydicom would also cut off what is beyond.
        options["bits_stored"] = integer(header.dataset, "BitsAllocated")
    frames: Iterator[Pixels]
    if not syntax.is_encapsulated and integer(header.dataset, "BitsAllocated") == 1:
        frames = _bit_frames(header, file, wanted)
    elif not syntax.is_encapsulated and photometric == "YBR_FULL_422":
        frames = _frames_by_calls(file, wanted)
    else:
        frames = iter_pixels(file, indices=wanted, decoding_plugin=plugin, **options)
    try:
        for _ in check_frames(header, wanted):
            with dicom_errors(header.subject), complaints(header):
                frame = next(frames)
                _check_frame(header, frame)
                if syntax in CHECKED:
                    frame = _stored_bits(header, frame)
            yield frame
    finally:
        with contextlib.suppress(ValueError):
            frames.close()  # type: ignore[attr-defined]  # it is a generator
        file.close()


def _frames_by_calls(file: BinaryIO, wanted: Iterable[int]) -> Generator[Pixels]:
    """Frames that are decoded by a call each.

    In one call, pydicom 3.0.2 takes all uncompressed frames of YBR_FULL_422 but the first for YBR_FULL, which is
    larger: it returns pixels from the wrong place, and takes the file for cut short.
    """
    for index in wanted:
        file.seek(0)
        yield from iter_pixels(file, indices=[index])


def _bit_frames(
    header: Header, file: IO[bytes], wanted: Iterable[int]
) -> Generator[Pixels]:
    """Frames (H, W) of one bit a pixel. They follow each other without gaps, the first pixel in the lowest bit.

    So a frame may begin inside a byte (PS3.5 8.1.1). pydicom 3.0.2 then reads a byte too few for some sizes, and
    takes the file for damaged.

    Raises:
        EOFError: the file ends within a frame.
    """
    rows, columns = header.shape
    size = rows * columns
    for index in wanted:
        skipped, first = divmod(index * size, 8)
        length = -(-(first + size) // 8)
        file.seek(header.pixels_at + skipped)
        content = file.read(length)
        if len(content) < length:
            raise EOFError
        bits = np.unpackbits(np.frombuffer(content, np.uint8), bitorder="little")
        yield bits[first : first + size].reshape(rows, columns)


@contextlib.contextmanager
def complaints(header: Header) -> Iterator[None]:
    """Refuses what GDCM's JPEG decoder only complains of on stderr, returning an image of which a part is missing."""
    if header.dataset.file_meta.TransferSyntaxUID not in BY_GDCM:
        yield
        return
    with tempfile.TemporaryFile() as file:
        sys.stderr.flush()
        stderr = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        file.seek(0)
        lines = file.read().splitlines(keepends=True)
    # Other threads may have written in between.
    others = [line for line in lines if not _DAMAGE.match(line)]
    os.write(2, b"".join(others))
    if len(others) < len(lines):
        problem = "has damaged JPEG data, parts of the image may be missing"
        raise InputError(header.subject, problem, "copy or export it again")


def _check_frame(header: Header, frame: Pixels) -> None:
    if frame.shape[:2] != header.shape or frame.ndim not in (2, 3):
        problem = "has a frame of another size than its header says"
        raise InputError(header.subject, problem, "copy or export it again")


def _stored_bits(header: Header, frame: Pixels) -> Pixels:
    """A frame of JPEG data without the bits that are not stored.

    Raises:
        InputError: they hold a part of the values, neither zeros nor the sign.
    """
    stored = integer(header.dataset, "BitsStored")
    unused = 8 * frame.dtype.itemsize - stored
    if unused <= 0:
        return frame
    kept = (frame << unused) >> unused
    beyond = frame.view(f"u{frame.dtype.itemsize}") >> stored
    if ((kept != frame) & (beyond != 0)).any():
        problem = f"has JPEG data with values of more than the {stored} bits that its header says"
        raise InputError(header.subject, problem, "export it again")
    return kept
