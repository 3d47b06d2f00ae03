"""A change of a mask: a rectangle with its pixels before and after, small enough to keep all of them."""

from __future__ import annotations

import base64
import binascii
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.resize import bounds
from sonoseg.errors import InputError

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Patch:
    """A rectangle of a mask (H, W), before a change and after it.

    Attributes:
        x, y, width, height: the rectangle, inside the mask.
        before, after: its pixels, packed to bits row by row and compressed.
    """

    x: int
    y: int
    width: int
    height: int
    before: bytes
    after: bytes

    def apply(self, mask: Mask) -> None:
        """Makes the change in `mask`, in place."""
        self._put(mask, self.after)

    def revert(self, mask: Mask) -> None:
        """Takes the change back, in place."""
        self._put(mask, self.before)

    def _put(self, mask: Mask, content: bytes) -> None:
        rows = slice(self.y, self.y + self.height)
        columns = slice(self.x, self.x + self.width)
        mask[rows, columns] = unsqueeze(content, self.height, self.width)


def difference(before: Mask, after: Mask) -> Patch:
    """The smallest patch that makes `after` of `before`; both (H, W)."""
    rows, columns = bounds(before != after)
    old, new = before[rows, columns], after[rows, columns]
    height, width = old.shape
    left, top = (
        int(columns.start),
        int(rows.start),
    )  # SQLite keeps numpy's numbers as bytes
    return Patch(left, top, width, height, squeeze(old), squeeze(new))


def whole_patch(mask: Mask) -> Patch:
    """A patch that makes all of a mask (H, W) of any other."""
    height, width = mask.shape
    return Patch(0, 0, width, height, squeeze(np.zeros_like(mask)), squeeze(mask))


def squeeze(mask: Mask) -> bytes:
    """The pixels of a mask, packed to bits and compressed."""
    return zlib.compress(pack(mask), 1)


def unsqueeze(content: bytes, height: int, width: int) -> Mask:
    """The mask (height, width) of which `squeeze` made `content`."""
    return unpack(zlib.decompress(content), height, width)


def pack(mask: Mask) -> bytes:
    """The pixels of a mask as bits, row by row, the first one in the highest bit of the first byte."""
    return np.packbits(mask.ravel()).tobytes()


def unpack(content: bytes, height: int, width: int) -> Mask:
    """The mask (height, width) of which `pack` made `content`.

    Raises:
        InputError: `content` has another length.
    """
    count = height * width
    if len(content) != (count + 7) // 8:
        raise InputError("bits", "do not fit the rectangle", "reload the page")
    bits = np.unpackbits(np.frombuffer(content, np.uint8), count=count)
    return bits.reshape(height, width).astype(bool)


def to_text(mask: Mask) -> str:
    """A mask as `pack` packs it, in base64."""
    return base64.b64encode(pack(mask)).decode("ascii")


def from_text(text: str, height: int, width: int) -> Mask:
    """The mask (height, width) of which `to_text` made `text`.

    Raises:
        InputError: it is not base64, or of another length.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InputError("bits", "are not base64", "reload the page") from None
    return unpack(content, height, width)
