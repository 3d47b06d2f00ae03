"""Lookup tables of a DICOM file, for gray values (PS3.3 C.11.1.1 and C.11.2.1.1) and palettes (C.7.6.3.1.5).

pydicom has functions for them. They hold the index in the type of the entries or of the samples, so that it wraps
where a table has more entries than that type has values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from sonoseg.dicom.damage import items

Values = NDArray[Any]
_COLOURS = ("Red", "Green", "Blue")
_MOST = 2**16


def gray_by_table(values: Values, dataset: Dataset, name: str) -> tuple[Values, float]:
    """Values of any shape after the first table of a sequence.

    Args:
        values: whole numbers.
        dataset: of the file.
        name: of the sequence, such as "VOILUTSequence".

    Returns:
        The entries, and the largest value that an entry can have.

    Raises:
        ValueError: the table is damaged, or has entries of more bits than it says.
    """
    table = items(dataset, name)[0]
    descriptor = _descriptor(table, "LUTDescriptor")
    entries = _entries(table.get("LUTData"), descriptor, dataset)
    largest = 2 ** descriptor[2] - 1
    if entries.max() > largest:
        raise ValueError("a lookup table has larger values than it says")
    return entries[_indices(values, descriptor)], float(largest)


def colours_by_table(values: Values, dataset: Dataset) -> NDArray[np.uint8]:
    """Palette indices (H, W) as RGB (H, W, 3).

    A palette with values over 255 is reduced to its upper 8 bits. The bits that its descriptor names are not
    believed: some files have small values in 16 bits, or large ones in what should be 8.

    Raises:
        ValueError: the palette is damaged.
    """
    descriptor = _descriptor(dataset, "RedPaletteColorLookupTableDescriptor")
    palette = _palette(dataset, descriptor)
    if palette.max() > np.iinfo(np.uint8).max:
        palette = palette >> 8
    return palette.astype(np.uint8)[_indices(values, descriptor)]


def _palette(dataset: Dataset, descriptor: tuple[int, int, int]) -> Values:
    """The entries (N, 3) of the three colours."""
    count, first, _ = descriptor
    if "RedPaletteColorLookupTableData" in dataset:
        columns = []
        for colour in _COLOURS:
            prefix = f"{colour}PaletteColorLookupTable"
            if _descriptor(dataset, f"{prefix}Descriptor")[:2] != (count, first):
                raise ValueError("the tables of the palette differ in length")
            columns.append(_entries(dataset.get(f"{prefix}Data"), descriptor, dataset))
        return np.stack(columns, axis=1)
    # A table in segments (C.7.9.2): pydicom puts it together, but its index would wrap.
    steps = np.arange(first, first + count)
    whole = apply_color_lut(steps, dataset)[..., :3]
    if count > np.iinfo(whole.dtype).max + 1:
        raise ValueError("a palette in segments of 8 bits has over 256 entries")
    return whole


def _descriptor(dataset: Dataset, name: str) -> tuple[int, int, int]:
    """How many entries there are, the value that the first is for, and the bits of an entry."""
    value: Any = dataset.get(name)
    if isinstance(value, (str, bytes)) or not hasattr(value, "__len__"):
        raise ValueError(f"{name} is no list of numbers")
    if len(value) != 3:
        raise ValueError(f"{name} holds {len(value)} numbers, not 3")
    count, first, bits = (int(number) for number in value)
    if not 8 <= bits <= 16:
        raise ValueError(f"{name} says {bits} bits")
    return count or _MOST, first, bits


def _entries(data: Any, descriptor: tuple[int, int, int], dataset: Dataset) -> Values:
    """The entries, unsigned, of 8 bits if there is only one byte for each, perhaps with one of padding at the end."""
    count = descriptor[0]
    if data is None:
        raise ValueError("a lookup table has no entries")
    is_big = dataset.file_meta.get("TransferSyntaxUID") == uid.ExplicitVRBigEndian
    if isinstance(data, bytes):
        words = np.frombuffer(data + bytes(len(data) % 2), ">u2" if is_big else "<u2")
    else:  # numbers that pydicom has read
        words = np.atleast_1d(np.asarray(data, np.uint16))
    entries = words.astype("<u2")
    if len(entries) == count:
        return entries
    if len(entries) == (count + 1) // 2:
        return entries.view(np.uint8)[:count]
    raise ValueError(f"a lookup table has not {count} entries")


def _indices(values: Values, descriptor: tuple[int, int, int]) -> Values:
    """Where values lie in a table; those before it at its first entry, those behind it at its last."""
    count, first, _ = descriptor
    return np.clip(np.rint(values).astype(np.int64) - first, 0, count - 1)
