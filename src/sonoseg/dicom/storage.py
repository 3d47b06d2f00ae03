"""How pixels are stored: is it a form that is read, and can it be."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Sequence

from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder

from sonoseg.dicom.damage import integer
from sonoseg.errors import InputError

ONE_SAMPLE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
PHOTOMETRIC = (
    *ONE_SAMPLE,
    "RGB",
    "YBR_FULL",
    "YBR_FULL_422",
    "YBR_ICT",
    "YBR_RCT",
)
_DECODERS = ("gdcm", "jpeg_ls")
"""Modules that decode what pydicom and Pillow do not; they come with the extra `dicom`."""
_AGAIN = "copy or export it again"


def check_storage(
    dataset: Dataset, subject: str, photometric: Sequence[str], bits: Sequence[int]
) -> None:
    """Refuses pixels of a kind that is not read, or that cannot be.

    Args:
        dataset: of the file.
        subject: what messages call it.
        photometric: photometric interpretations that are read.
        bits: how many may be allocated for a sample.

    Raises:
        InputError: they are of another kind.
    """
    colours = str(dataset.PhotometricInterpretation)
    if colours not in photometric:
        problem = f"has pixels of the kind {colours[:20]}, which are not read"
        raise InputError(subject, problem, "export it as RGB or MONOCHROME2")
    _check_samples(dataset, subject, colours, bits)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if not isinstance(syntax, uid.UID) or not syntax:
        raise InputError(subject, "has no transfer syntax", _AGAIN)
    if "MPEG" in syntax.name or "HEVC" in syntax.name:
        problem = f"is a video ({syntax.name}), which is not read from DICOM"
        raise InputError(subject, problem, "export the loop as MP4, or uncompressed")
    if syntax.is_private or (syntax.is_encapsulated and syntax.name == syntax):
        problem = f"is stored in a form that is not known ({str(syntax)[:64]})"
        raise InputError(subject, problem, "export it uncompressed")
    if syntax == uid.ExplicitVRBigEndian and integer(dataset, "BitsAllocated") == 1:
        # Whether the bytes are swapped depends on the type of the element. pydicom never swaps these.
        problem = "has masks of one bit a pixel in big-endian order, which is not read"
        raise InputError(subject, problem, "export it as Explicit VR Little Endian")
    if syntax.is_encapsulated:
        _check_decoder(subject, syntax)


def _check_decoder(subject: str, syntax: uid.UID) -> None:
    with contextlib.suppress(NotImplementedError):  # pydicom does not know it
        if get_decoder(syntax).is_available:
            return
    hint = "export it uncompressed"
    if any(importlib.util.find_spec(name) is None for name in _DECODERS):
        hint = "pip install '.[dicom]' in the source folder, or export it uncompressed"
    problem = f"is stored in a form that is not read here ({syntax.name})"
    raise InputError(subject, problem, hint)


def _check_samples(
    dataset: Dataset, subject: str, colours: str, bits: Sequence[int]
) -> None:
    """Refuses samples that cannot be, before a decoder in C sees them: GDCM ends the process for some."""
    allocated = integer(dataset, "BitsAllocated")
    stored = integer(dataset, "BitsStored")
    high = integer(dataset, "HighBit", missing=stored - 1)
    samples = integer(dataset, "SamplesPerPixel")
    is_gray = colours in ONE_SAMPLE
    is_possible = (
        allocated in bits
        and 1 <= stored <= allocated
        and samples == (1 if is_gray else 3)
        and integer(dataset, "PixelRepresentation", missing=0) in (0, 1)
        and integer(dataset, "PlanarConfiguration", missing=0) in (0, 1)
    )
    if not is_possible:
        problem = f"has {samples} samples a pixel with {stored} of {allocated} bits as {colours}"
        raise InputError(subject, f"{problem}, which cannot be", _AGAIN)
    # pydicom takes the lowest bits, whatever this says. Where all bits are stored, it can only be a slip.
    if high != stored - 1 and not stored == allocated <= 8:
        problem = f"has {stored} of {allocated} bits stored up to bit {high}, which is not read"
        raise InputError(subject, problem, "export it with 8 bits")
