"""Which bits of a sample hold its value."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset
from numpy.typing import NDArray

from sonoseg.dicom.read import read_dicom
from sonoseg.errors import InputError

DEEP = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


@pytest.mark.parametrize(
    ("pixels", "stored", "high"),
    [(DEEP << 4, 12, 15), (DEEP << 8, 8, 15), (DEEP, 16, 11), (DEEP >> 8, 7, 7)],
)
def test_values_in_other_bits_than_the_lowest_are_refused(
    pixels: NDArray[Any], stored: int, high: int
) -> None:
    narrow = pixels.astype(np.uint8) if stored == 7 else pixels
    dataset = make_dataset(narrow, BitsStored=stored, HighBit=high)
    with pytest.raises(InputError, match=f"bits stored up to bit {high}, which"):
        read_dicom(as_bytes(dataset))


def test_a_high_bit_that_is_missing_or_a_slip() -> None:
    dataset = make_dataset(DEEP.astype(np.uint8), HighBit=0)
    (expected,) = read_dicom(as_bytes(dataset)).views()
    np.testing.assert_array_equal(expected.image.pixels, DEEP.astype(np.uint8))
    dataset = make_dataset(DEEP, BitsStored=12)
    del dataset.HighBit
    (view,) = read_dicom(as_bytes(dataset)).views()
    np.testing.assert_array_equal(view.image.pixels, np.rint(DEEP * (255 / 4095)))
