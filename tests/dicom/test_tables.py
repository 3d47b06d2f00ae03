"""Lookup tables: of 8 and 16 bits, of more entries than 8 bits can number, packed, in both byte orders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset

from sonoseg.dicom.read import read_dicom
from sonoseg.errors import InputError

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def _gray(dataset: Dataset) -> NDArray[np.uint8]:
    (view,) = read_dicom(as_bytes(dataset)).views()
    return view.image.pixels


def _table(entries: Any, first: int, bits: int, kind: str = "US") -> Dataset:
    item = Dataset()
    is_signed = first < 0
    descriptor = [len(entries) % 2**16, first, bits]
    item.add_new("LUTDescriptor", "SS" if is_signed else "US", descriptor)
    if kind == "US":
        item.add_new("LUTData", kind, [int(one) for one in entries])
    else:
        data = np.asarray(entries).tobytes()
        item.add_new("LUTData", kind, data + bytes(len(data) % 2))
    return item


@pytest.mark.parametrize("name", ["VOILUTSequence", "ModalityLUTSequence"])
@pytest.mark.parametrize("kind", ["US", "OW"])
def test_a_table_of_8_bits_shows_what_one_of_16_bits_does(name: str, kind: str) -> None:
    """With 4096 entries: an index of 8 bits would wrap."""
    shades = (RAMP.ravel()[::-1] >> 4).astype(np.uint8)
    narrow = _table(shades, 0, 8, kind)
    wide = _table(shades * np.uint16(257), 0, 16, kind)
    tags = {"BitsStored": 12, "HighBit": 11}
    by_narrow = _gray(make_dataset(RAMP, **tags, **{name: [narrow]}))
    by_wide = _gray(make_dataset(RAMP, **tags, **{name: [wide]}))
    np.testing.assert_array_equal(by_narrow.ravel(), shades)
    np.testing.assert_array_equal(by_narrow, by_wide)


def test_signed_samples_and_those_beyond_a_table() -> None:
    values = np.arange(-128, 128, dtype=np.int8).repeat(4).reshape(32, 32)
    table = _table(np.arange(256, dtype=np.uint8), -128, 8)
    gray = _gray(make_dataset(values, VOILUTSequence=[table]))
    np.testing.assert_array_equal(gray, values.astype(np.int16) + 128)
    short = _table(np.array([10, 20, 30], np.uint8), 100, 8)
    dataset = make_dataset(RAMP, BitsStored=12, HighBit=11, VOILUTSequence=[short])
    assert _gray(dataset).ravel()[[0, 100, 101, 102, 4095]].tolist() == [
        10,
        10,
        20,
        30,
        30,
    ]


def test_a_table_follows_a_rescale() -> None:
    table = _table(np.arange(256, dtype=np.uint8), 0, 8)
    tags = {"RescaleSlope": "0.1", "RescaleIntercept": "-10"}
    dataset = make_dataset(
        RAMP, BitsStored=12, HighBit=11, VOILUTSequence=[table], **tags
    )
    expected = np.rint(np.clip(RAMP * 0.1 - 10, 0, 255))
    np.testing.assert_array_equal(_gray(dataset), expected)


@pytest.mark.parametrize(
    "table",
    [
        _table([300] * 256, 0, 8),
        _table([3] * 256, 0, 7),
        _table([3] * 256, 0, 17),
        _table(np.zeros(200, np.uint16), 0, 16, "OW"),
    ],
    ids=["values", "few bits", "many bits", "short"],
)
def test_a_damaged_table_is_refused(table: Dataset) -> None:
    table.LUTDescriptor = [256, *table.LUTDescriptor[1:]]
    with pytest.raises(InputError, match="is damaged"):
        _gray(make_dataset(RAMP, VOILUTSequence=[table]))
    del table.LUTData
    with pytest.raises(InputError, match="is damaged"):
        _gray(make_dataset(RAMP, VOILUTSequence=[table]))


def _with_palette(
    indices: NDArray[Any], entries: NDArray[Any], first: int = 0, is_big: bool = False
) -> Dataset:
    stored = indices.astype(indices.dtype.newbyteorder(">" if is_big else "<"))
    dataset = make_dataset(stored, "PALETTE COLOR")
    data = entries.tobytes()
    data += bytes(len(data) % 2)
    if is_big:
        dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
        data = np.frombuffer(data, "<u2").byteswap().tobytes()
    descriptor = [len(entries) % 2**16, first, 8 * entries.dtype.itemsize]
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", descriptor)
        setattr(dataset, f"{colour}PaletteColorLookupTableData", data)
    return dataset


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("entries", [512, 4096, 65536])
def test_a_long_palette_of_8_bits(entries: int, is_big: bool) -> None:
    indices = (RAMP * np.uint16(16)) & np.uint16(entries - 1)
    shades = (np.arange(entries) * 256 // entries).astype(np.uint8)
    dataset = _with_palette(indices, shades, is_big=is_big)
    np.testing.assert_array_equal(_gray(dataset), shades[indices])
    wide = _with_palette(indices, shades * np.uint16(257), is_big=is_big)
    np.testing.assert_array_equal(_gray(wide), shades[indices])


def test_a_palette_with_a_byte_of_padding() -> None:
    indices = RAMP.astype(np.uint8)
    dataset = _with_palette(indices, np.arange(255, dtype=np.uint8))
    np.testing.assert_array_equal(_gray(dataset), np.minimum(indices, 254))


def test_a_palette_that_begins_later() -> None:
    indices = RAMP.astype(np.uint8)
    dataset = _with_palette(indices, np.arange(100, dtype=np.uint8), first=50)
    expected = np.clip(indices.astype(np.int16) - 50, 0, 99)
    np.testing.assert_array_equal(_gray(dataset), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("entries", [256, 512])
def test_a_palette_in_segments(bits: int, entries: int) -> None:
    """One linear segment from black to white (PS3.3 C.7.9.2)."""
    kind = np.dtype(f"u{bits // 8}")
    white = np.iinfo(kind).max
    steps = [0, 1, 0]
    left = entries - 1
    while left:
        part = min(left, 255)
        left -= part
        steps += [1, part, white * (entries - 1 - left) // (entries - 1)]
    dataset = make_dataset(RAMP, "PALETTE COLOR")
    for colour in ("Red", "Green", "Blue"):
        prefix = f"{colour}PaletteColorLookupTable"
        setattr(dataset, f"{prefix}Descriptor", [entries, 0, bits])
        setattr(dataset, f"Segmented{prefix}Data", np.array(steps, kind).tobytes())
    if bits == 8 and entries > 256:
        with pytest.raises(InputError, match="is damaged"):
            _gray(dataset)
        return
    expected = np.minimum(RAMP, entries - 1) * 255.0 / (entries - 1)
    assert np.abs(_gray(dataset) - expected).max() <= 1
