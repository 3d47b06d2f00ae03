"""Every kind of TIFF is read as its tags mean it, or refused with the name of its kind; tifffile is the oracle."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin

from sonoseg.core.image import read_image
from sonoseg.core.mask import read_mask
from sonoseg.errors import InputError

RANDOM = np.random.default_rng(0)
GRAY = RANDOM.integers(0, 256, (40, 52)).astype(np.uint8)
GRAY[0, :2] = 0, 255
WIDE = GRAY.astype(np.uint16) * 257
COLOUR = RANDOM.integers(0, 65536, (40, 52, 4)).astype(np.uint16)
PLANES = COLOUR[..., :3].transpose(2, 0, 1).copy()
WHITE_IS_ZERO = {"photometric": "miniswhite"}
RGB = {"photometric": "rgb"}


def _tiff(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()


# What is the same gray picture, from 0 to 255, whatever the numbers are.
SAME = {
    "uint8": (GRAY, {}),
    "uint8, white is 0": (255 - GRAY, WHITE_IS_ZERO),
    "int8": ((GRAY.astype(int) - 128).astype(np.int8), {}),
    "uint16": (WIDE, {}),
    "uint16, white is 0": (65535 - WIDE, WHITE_IS_ZERO),
    "int16": ((WIDE.astype(int) - 32768).astype(np.int16), {}),
    "uint32": (GRAY.astype(np.uint32) << 24, {}),
    "int32": (((GRAY.astype(np.int64) - 128) << 24).astype(np.int32), {}),
    "float32": (GRAY.astype(np.float32) / 255, {}),
    "float32, white is 0": (1 - GRAY.astype(np.float32) / 255, WHITE_IS_ZERO),
    "tiles": (WIDE, {"tile": (16, 16)}),
    "strips": (WIDE, {"rowsperstrip": 7}),
    "RGB in 16 bits": (np.repeat(WIDE[..., None], 3, 2), RGB),
    "RGB in planes": (np.repeat(GRAY[None], 3, 0), RGB | {"planarconfig": "separate"}),
}
REFUSED = {
    "float64": (GRAY.astype(np.float64), {}, "64-bit floating-point gray"),
    "float16": (GRAY.astype(np.float16), {}, "16-bit floating-point gray"),
    "float RGB": (
        COLOUR[..., :3].astype(np.float32),
        RGB,
        "3 × 32-bit floating-point RGB",
    ),
    "LAB": (COLOUR[..., :3].astype(np.uint8), {"photometric": "cielab"}, "CIELAB"),
    "16-bit planes": (
        COLOUR[..., :3].transpose(2, 0, 1).copy(),
        RGB | {"planarconfig": "separate"},
        "in separate planes",
    ),
    "CMYK in 16 bits": (
        COLOUR,
        {"photometric": "separated"},
        "4 × 16-bit unsigned CMYK",
    ),
}


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", SAME)
def test_the_same_picture_in_every_kind_of_number_is_the_same_gray(
    kind: str, order: str, compression: Any
) -> None:
    pixels, options = SAME[kind]
    content = _tiff(pixels, byteorder=order, compression=compression, **options)
    try:
        gray = read_image(content).pixels
    except InputError as error:
        assert order == ">"
        assert kind in ("uint16, white is 0", "uint32")
        assert "bit unsigned gray" in str(error)
    else:
        np.testing.assert_array_equal(gray, GRAY)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [3, 4])
def test_colour_in_16_bits_keeps_its_low_byte(
    channels: int, order: str, compression: Any
) -> None:
    pixels = COLOUR[..., :channels] // 256 + 7  # only the low byte is used
    content = _tiff(pixels, byteorder=order, compression=compression, **RGB)
    expected = read_image(pixels).pixels
    assert expected.std() > 30
    np.testing.assert_allclose(read_image(content).pixels, expected, atol=1)


@pytest.mark.parametrize(
    "pixels", [GRAY, WIDE, COLOUR[..., :3]], ids=["8 bits", "16 bits", "colour"]
)
def test_tags_turn_the_picture_upright(pixels: NDArray[Any]) -> None:
    content = _tiff(
        pixels,
        photometric="rgb" if pixels.ndim == 3 else "minisblack",
        extratags=[(274, 3, 1, 6, True)],
    )
    np.testing.assert_allclose(
        read_image(content).pixels, np.rot90(read_image(pixels).pixels, -1), atol=1
    )


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_read_wrongly_is_refused_by_name(
    tmp_path: Path, kind: str, compression: Any
) -> None:
    pixels, options, name = REFUSED[kind]
    path = tmp_path / "a.tif"
    path.write_bytes(_tiff(pixels, compression=compression, **options))
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=r"a\.tif: a TIFF of .*" + name) as error:
            read(path)
        assert str(error.value).endswith("; export it as 8- or 16-bit gray or RGB")


def _bare_tiff(pages: int, without: int = 0) -> bytes:
    """A 40 × 40 TIFF of many directories that share their pixels; one tag may be left out."""
    tags = [
        (256, 40),
        (257, 40),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 40),
        (279, 1600),
    ]
    entries = [
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags if tag != without
    ]
    size = 2 + 12 * len(entries) + 4
    content = bytearray(b"II*\0" + struct.pack("<I", 8))
    for page in range(pages):
        following = 0 if page == pages - 1 else len(content) + size
        content += (
            struct.pack("<H", len(entries))
            + b"".join(entries)
            + struct.pack("<I", following)
        )
    return bytes(content) + bytes(1600)


def test_pages_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def counted(_: Any) -> int:
        raise AssertionError("to count 50,000 pages takes half a minute")

    monkeypatch.setattr(TiffImagePlugin.TiffImageFile, "n_frames", property(counted))
    assert not read_image(_bare_tiff(1)).pixels.all()
    with pytest.raises(InputError, match="has several pages; save each page"):
        read_image(_bare_tiff(50_000))


def test_a_tiff_that_does_not_say_what_is_black_is_refused() -> None:
    with pytest.raises(InputError, match="does not say whether 0 is black or white"):
        read_image(_bare_tiff(1, without=262))


def test_a_palette_of_8_bits_is_not_taken_for_black() -> None:
    palette = np.zeros((3, 256), np.uint16)
    palette[:, 1] = 200
    content = _tiff(
        (GRAY > 99).astype(np.uint8), photometric="palette", colormap=palette
    )
    np.testing.assert_array_equal(
        read_image(content).pixels, np.where(GRAY > 99, 200, 0)
    )


def test_a_loaded_tiff_is_read_as_an_unloaded_one_or_refused() -> None:
    for kind in ("int8", "uint16, white is 0", "uint32"):
        image = Image.open(io.BytesIO(_tiff(SAME[kind][0], **SAME[kind][1])))
        image.load()
        np.testing.assert_array_equal(read_image(image).pixels, GRAY)
    image = Image.open(io.BytesIO(_tiff(COLOUR[..., :3], **RGB)))
    image.load()
    with pytest.raises(InputError, match=r"3 × 16-bit unsigned RGB"):
        read_image(image)
    swapped = Image.open(
        io.BytesIO(_tiff(SAME["int16"][0], byteorder=">", compression="zlib"))
    )
    swapped.load()
    with pytest.raises(InputError, match="give the file itself"):
        read_image(swapped)


def test_what_libtiff_says_of_damaged_data_is_a_doubt_and_not_a_line(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Image.fromarray(GRAY > 99).save(
        buffer := io.BytesIO(), "TIFF", compression="group4"
    )
    content = bytearray(buffer.getvalue())
    content[30:60] = b"\xaa" * 30  # Pillow writes the data first
    (doubt,) = read_image(bytes(content)).doubts
    assert doubt.startswith(
        "its TIFF data is damaged, parts of the image may be wrong (Fax4Decode: "
    )
    with pytest.raises(InputError, match="its TIFF data is damaged"):
        read_mask(bytes(content))
    assert capfd.readouterr().err == ""
