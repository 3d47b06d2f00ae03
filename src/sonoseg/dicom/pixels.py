"""How the samples of a DICOM file become gray (PS3.3 C.11)."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from sonoseg.dicom.damage import integer, number
from sonoseg.dicom.tables import colours_by_table, gray_by_table

Pixels = NDArray[Any]
Range = tuple[float, float]
PALETTE = "PALETTE COLOR"
_FEWEST_BITS = 8
_BYTE = 255
_MUCH_LARGER = 4
"""How many times larger than the values the range of the stored bits is, if two bits are unused."""
_COLOURED = 48
"""Difference between the channels of a pixel from which on it counts as coloured."""
_STEP = 2


def as_colour(pixels: Pixels, dataset: Dataset) -> Pixels:
    """Frames of a palette as (H, W, 3) uint8 RGB; others as they are."""
    if dataset.PhotometricInterpretation != PALETTE:
        return pixels
    return colours_by_table(pixels, dataset)


def as_gray(
    pixels: Pixels, dataset: Dataset, values: Range | None = None
) -> NDArray[np.uint8]:
    """Part of a frame, as `as_colour` returns it, as gray (H, W) uint8.

    Colour becomes luminance (ITU-R 601). Gray samples take the steps of PS3.3 C.11: modality table or rescale, then
    the VOI table or window if there is one; without them a range of values becomes 0..255. MONOCHROME1 is inverted.

    Args:
        pixels: the part.
        dataset: of the file.
        values: the smallest and the largest stored value of the range, see `used_range`; None takes all stored bits.
    """
    if pixels.ndim == 3:
        colours = np.ascontiguousarray(_as_bytes(pixels, dataset))
        return np.array(Image.fromarray(colours).convert("L"))
    gray = _shown(pixels, dataset, values or stored_range(dataset))
    return (
        np.asarray(255 - gray)
        if dataset.PhotometricInterpretation == "MONOCHROME1"
        else gray
    )


def coloured_share(colours: Pixels) -> float:
    """The share of pixels of an RGB picture (H, W, 3) that have a colour; 0 for a gray one (H, W)."""
    if colours.ndim == 2:
        return 0.0
    few = colours[::_STEP, ::_STEP].astype(np.int16)
    return float((np.ptp(few, axis=2) > _COLOURED).mean())


def _as_bytes(colours: Pixels, dataset: Dataset) -> Pixels:
    if colours.dtype == np.uint8:
        return colours
    return (colours >> max(integer(dataset, "BitsStored") - 8, 0)).astype(np.uint8)


def _shown(pixels: Pixels, dataset: Dataset, values: Range) -> NDArray[np.uint8]:
    """Gray samples in 0..255, before an inversion."""
    window = _window(dataset)
    samples, (low, high) = _after_modality(pixels, dataset, values)
    if dataset.get("VOILUTSequence") and window is None:
        entries, largest = gray_by_table(samples, dataset, "VOILUTSequence")
        return _scaled(entries / largest)
    if window is not None:
        return _windowed(
            samples, window, str(dataset.get("VOILUTFunction", "LINEAR") or "LINEAR")
        )
    if samples is pixels and samples.dtype == np.uint8 and high == 255:
        return np.asarray(samples, np.uint8)
    return _scaled((samples - low) / (high - low))


def _after_modality(
    pixels: Pixels, dataset: Dataset, values: Range
) -> tuple[Pixels, Range]:
    """Samples after the modality table or rescale, and what becomes of a range of them."""
    if dataset.get("ModalityLUTSequence"):
        samples, largest = gray_by_table(pixels, dataset, "ModalityLUTSequence")
        return samples, (0.0, largest)
    slope = number(dataset, "RescaleSlope", missing=1) or 1
    intercept = number(dataset, "RescaleIntercept", missing=0)
    if (slope, intercept) == (1, 0):
        return pixels, values
    low, high = sorted(one * slope + intercept for one in values)
    return pixels.astype(np.float64) * slope + intercept, (low, high)


def stored_range(dataset: Dataset) -> Range:
    """The smallest and the largest value that the stored bits can hold."""
    is_signed = integer(dataset, "PixelRepresentation", missing=0) == 1
    return _range_of(integer(dataset, "BitsStored"), is_signed)


def used_range(frame: Pixels, dataset: Dataset) -> Range:
    """The values that become 0..255: those of the stored bits, or of fewer bits if the frame leaves many unused.

    Without a window, the standard shows the range of the stored bits (PS3.3 C.11.2). But some scanners store 10 or 12
    bits and write 16 as Bits Stored, so that the image would be nearly black. If a gray frame of more than 8 bits,
    without window and tables, leaves at least two bits unused, the range is that of the bits that it needs.

    Args:
        frame: (H, W) samples of the whole frame, so that all of its regions have one range.
        dataset: of the file.
    """
    stored = stored_range(dataset)
    has_table = dataset.get("ModalityLUTSequence") or dataset.get("VOILUTSequence")
    is_gray = frame.ndim == 2 and dataset.PhotometricInterpretation != PALETTE
    is_deep = integer(dataset, "BitsStored") > _FEWEST_BITS
    if not (is_gray and is_deep) or has_table or _window(dataset) is not None:
        return stored
    low, high = int(frame.min()), int(frame.max())
    is_signed = low < 0
    needed = max(high, -1 - low).bit_length() + is_signed
    used = _range_of(max(needed, _FEWEST_BITS), is_signed)
    is_small = (used[1] - used[0] + 1) * _MUCH_LARGER <= stored[1] - stored[0] + 1
    return used if is_small else stored


def _range_of(bits: int, is_signed: bool) -> Range:
    half = 2.0 ** (bits - 1)
    return (-half, half - 1) if is_signed else (0.0, 2 * half - 1)


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """Centre and width of the first window; None if there is none that can be used."""
    pair = []
    for name in ("WindowCenter", "WindowWidth"):
        value = dataset.get(name)
        if isinstance(value, MultiValue):
            value = value[0] if len(value) else None
        if not isinstance(value, (Real, str)) or value == "":
            return None
        pair.append(float(value))
    centre, width = pair
    usable = np.isfinite([centre, width]).all() and width >= 1
    return (centre, width) if usable else None


def _windowed(
    values: Pixels, window: tuple[float, float], function: str
) -> NDArray[np.uint8]:
    """PS3.3 C.11.2.1.2 (linear) and C.11.2.1.3 (sigmoid, exact linear)."""
    centre, width = window
    if function == "SIGMOID":
        exponent = np.clip(-4 * (values - centre) / width, -700, 700)
        return _scaled(1 / (1 + np.exp(exponent)))
    if function == "LINEAR_EXACT":
        return _scaled((values - centre) / width + 0.5)
    if width == 1:
        return _scaled((values > centre - 0.5).astype(np.float64))
    return _scaled((values - (centre - 0.5)) / (width - 1) + 0.5)


def _scaled(share: Pixels) -> NDArray[np.uint8]:
    """Values of 0..1 as 0..255; what lies beyond becomes the end."""
    return np.asarray(np.rint(np.clip(share, 0, 1) * 255), np.uint8)
