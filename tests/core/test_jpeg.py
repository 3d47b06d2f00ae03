"""Flipped bits in JPEG that libjpeg would warn of are doubted, sound files never are."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sonoseg.core import jpeg
from sonoseg.core.image import read_image

ROWS, COLUMNS = np.mgrid[:96, :128]
SPECKLE = np.random.default_rng(0).rayleigh(60, (96, 128)) * (1 - ROWS / 140)
SCAN = Image.fromarray(
    np.where(np.hypot(ROWS - 50, COLUMNS - 60) < 20, 12, SPECKLE)
    .clip(0, 255)
    .astype(np.uint8)
)
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "gray": ("L", {"quality": 75}),
    "fine": ("L", {"quality": 100}),
    "colour": ("RGB", {"quality": 90}),
    "4:2:0": ("RGB", {"quality": 60, "subsampling": 2}),
    "CMYK": ("CMYK", {"quality": 80}),
    "optimized": ("L", {"quality": 85, "optimize": True}),
    "progressive": ("RGB", {"quality": 85, "progressive": True}),
    "restarts": ("L", {"quality": 85, "restart_marker_rows": 2}),
    "short restarts": ("L", {"quality": 85, "restart_marker_blocks": 5}),
}


def _jpeg(kind: str, image: Image.Image = SCAN) -> bytes:
    mode, options = KINDS[kind]
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", ["speckle", "black below", "flat"])
def test_sound_files_are_not_doubted(kind: str, content: str) -> None:
    pixels = np.array(SCAN)
    if content != "speckle":
        pixels[30 if content == "black below" else 0 :] = 0
    assert jpeg.doubts(_jpeg(kind, Image.fromarray(pixels))) == ()


def _with_a_stretch(data: bytes) -> bytes:
    """Forty bytes of coded data repeated: there are too many blocks."""
    middle = data.index(b"\xff\xda") + 400
    return data[:middle] + data[middle - 40 : middle] + data[middle:]


@pytest.mark.parametrize(
    "kind", ["gray", "fine", "colour", "4:2:0", "CMYK", "optimized"]
)
def test_data_of_another_length_than_its_blocks_is_doubted(kind: str) -> None:
    data = _jpeg(kind)
    assert jpeg.doubts(_with_a_stretch(data)) == (
        "its JPEG data is damaged, parts of the image may be wrong",
    )
    end = len(data) - 2
    assert jpeg.doubts(data[: end - 60].removesuffix(b"\xff") + data[end:])


def test_missing_data_in_restart_intervals_is_doubted_and_so_is_their_order() -> None:
    data = _jpeg("restarts")
    place = data.index(b"\xff\xd1")
    assert jpeg.doubts(data[: place - 60].removesuffix(b"\xff") + data[place:])
    assert jpeg.doubts(data[: place + 1] + b"\xd4" + data[place + 2 :])


def test_most_flips_that_move_blocks_are_noticed() -> None:
    data, random = _jpeg("gray"), np.random.default_rng(1)
    sound = read_image(data).pixels.astype(int)
    start = data.index(b"\xff\xda") + 12
    noticed, moved = 0, 0
    for place in random.integers(start, len(data) - 200, 60):
        flipped = bytearray(data)
        flipped[place] ^= 1 << random.integers(8)
        flipped = bytes(flipped).replace(b"\xff\xd9", b"\xff\x00", -1) + b"\xff\xd9"
        image = read_image(flipped)
        is_moved = (np.abs(image.pixels[-8:] - sound[-8:]) > 40).any()
        moved += is_moved
        noticed += is_moved and bool(image.doubts)
    assert moved > 5
    assert noticed >= 0.6 * moved


def test_the_thumbnail_of_a_photo_and_what_follows_it_are_passed_over() -> None:
    data = _jpeg("gray")
    application = b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data
    assert (
        jpeg.doubts(data[:2] + application + data[2:] + b"what a phone adds" * 9) == ()
    )
