"""Pictures of every kind are read alike, and whatever is no picture gives one clear error."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.multival import MultiValue
from pydicom.valuerep import DSfloat

from sonoseg.core import image as core_image
from sonoseg.core import mask as core_mask
from sonoseg.core.image import ImageSource, parse_spacing, pixel_spacing
from sonoseg.core.source import MIN_SIDE, Source
from sonoseg.errors import InputError

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (40, 52, 3), dtype=np.uint8)
GRAY = np.array(Image.fromarray(COLOUR).convert("L"))


def read_image(source: Source) -> NDArray[np.uint8]:
    return core_image.read_image(source).pixels


def read_mask(source: Source) -> NDArray[np.bool_]:
    return core_mask.read_mask(source).pixels


def _smooth(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.array(
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR)
    )


@pytest.fixture(autouse=True)
def _no_warnings() -> None:
    warnings.simplefilter("error")


def _png_header(width: int, height: int) -> bytes:
    """A PNG that says it is huge, with next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data))
            + kind
            + data
            + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", data)
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "A.TIFF", "no_suffix"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_lossless_pictures_give_their_gray_values(
    tmp_path: Path, name: str, mode: str
) -> None:
    path = tmp_path / name
    kind = {".bmp": "BMP", ".tif": "TIFF", ".TIFF": "TIFF"}.get(path.suffix, "PNG")
    Image.fromarray(COLOUR).convert(mode).save(path, format=kind)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, GRAY)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "YCbCr"])
def test_unusual_modes_are_read_as_pillow_shows_them(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(COLOUR).convert(mode).save(path)
    expected = np.asarray(Image.open(path).convert("RGB").convert("L"), float)
    assert np.abs(read_image(path) - expected).max() <= 1


def test_jpeg_is_near_its_source(tmp_path: Path) -> None:
    smooth = _smooth(GRAY[:8, :8], 64, 64)
    Image.fromarray(smooth).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - smooth).mean() < 3


def test_palette_with_transparency_is_read_without_a_warning(tmp_path: Path) -> None:
    picture = Image.fromarray(COLOUR).convert("P")
    picture.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert read_image(tmp_path / "a.png").shape == GRAY.shape


def test_sixteen_bits_are_stretched_over_their_own_range(tmp_path: Path) -> None:
    twelve_bit = np.linspace(100, 4095, 40 * 50).reshape(40, 50).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        Image.fromarray(twelve_bit).save(tmp_path / name)
        image = read_image(tmp_path / name)
        assert (image.min(), image.max()) == (0, 255)
        np.testing.assert_array_equal(image, read_image(twelve_bit))
        np.testing.assert_allclose(
            image, (twelve_bit - 100.0) / 3995 * 255, atol=0.5001
        )


def test_float_tiff_is_stretched_and_nan_refused(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(30, 40)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert (
        read_image(tmp_path / "a.tif").min(),
        read_image(tmp_path / "a.tif").max(),
    ) == (0, 255)
    for bad in (np.nan, np.inf):
        values[3, 4] = bad
        Image.fromarray(values).save(tmp_path / "bad.tif")
        with pytest.raises(
            InputError, match=r"bad\.tif: has pixels that are not finite"
        ):
            read_image(tmp_path / "bad.tif")


def test_floats_from_0_to_1_are_as_dark_as_the_same_bytes(tmp_path: Path) -> None:
    dark = (GRAY // 4).astype(np.uint8)
    for values in (dark / 255, (dark / 255).astype(np.float32)):
        np.testing.assert_array_equal(read_image(values), dark)
    Image.fromarray((dark / 255).astype(np.float32)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), dark)
    np.testing.assert_array_equal(
        read_image(np.full((16, 20), 0.2)), np.full((16, 20), 51)
    )


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_turns_the_picture_upright(
    tmp_path: Path, suffix: str
) -> None:
    upright = _smooth(GRAY[:6, :6], 60, 40)
    exif = Image.Exif()
    exif[0x112] = 6  # stored a quarter turn to the left
    Image.fromarray(np.rot90(upright)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - upright).mean() < 3


def test_published_busi_files_are_read(real_data: Path) -> None:
    files = sorted((real_data / "busi_original_sample").rglob("*.png"))
    assert len(files) > 20
    for path in files:
        picture = Image.open(path)
        expected = np.asarray(picture.convert("RGB").convert("L"))
        if "_mask" in path.stem:
            np.testing.assert_array_equal(read_mask(path), expected > 0)
        else:
            np.testing.assert_array_equal(read_image(path), expected)


def _save(picture: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    return buffer.getvalue()


PICTURE = Image.fromarray(COLOUR)
VALID = {kind: _save(PICTURE, kind) for kind in ("PNG", "JPEG", "TIFF", "BMP")} | {
    "16-bit": _save(Image.fromarray(GRAY.astype(np.uint16)), "PNG"),
    "LZW": _save(PICTURE, "TIFF", compression="tiff_lzw"),
    "palette": _save(PICTURE.convert("P"), "PNG", transparency=3),
    "progressive": _save(PICTURE, "JPEG", progressive=True),
}
BAD = {
    "text": (b"this is a text, not a picture\n" * 9, "not a picture"),
    "gif": (_save(PICTURE.convert("P"), "GIF"), "not a picture"),
    "empty": (b"", "empty file"),
    "truncated PNG": (VALID["PNG"][:2000], "damaged or cut short"),
    "truncated JPEG": (VALID["JPEG"][:900], "damaged or cut short"),
    "truncated TIFF": (VALID["TIFF"][:900], "not a picture|damaged or cut short"),
    "truncated BMP": (VALID["BMP"][:900], "damaged or cut short"),
    "1x1": (_save(PICTURE.resize((1, 1)), "PNG"), "1 × 1 pixels, too small"),
    "15x300": (_save(PICTURE.resize((300, 15)), "PNG"), "300 × 15 pixels, too small"),
    "20000x20000": (_png_header(20_000, 20_000), "over 50 megapixels"),
    "10001x10001": (_png_header(10_001, 10_001), r"over 50 megapixels \(10001 × 10001"),
    "two pages": (
        _save(PICTURE, "TIFF", save_all=True, append_images=[PICTURE]),
        "several pages; save",
    ),
    "animated PNG": (
        _save(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(9)]),
        "2 frames; save",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_picture_is_told_in_one_line_with_file_fault_and_mend(
    tmp_path: Path, kind: str
) -> None:
    content, problem = BAD[kind]
    path = tmp_path / "scan.png"
    path.write_bytes(content)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=problem) as error:
            read(path)
        assert str(error.value).startswith(str(path))
        assert error.value.hint
        assert "\n" not in str(error.value)


def test_a_huge_header_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    import tracemalloc

    (tmp_path / "a.png").write_bytes(_png_header(7_001, 7_150))
    tracemalloc.start()
    with pytest.raises(InputError, match="over 50 megapixels"):
        read_image(tmp_path / "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=400), head=st.sampled_from(["", *VALID]))
def test_random_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, head: str
) -> None:
    _read_or_refuse(tmp_path_factory, (VALID[head][:60] if head else b"") + content)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(VALID)))
def test_altered_pictures_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, kind: str
) -> None:
    content = bytearray(VALID[kind])
    near_head = st.integers(0, min(300, len(content) - 1))
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(near_head | st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    _read_or_refuse(
        tmp_path_factory, bytes(content[: data.draw(st.integers(1, len(content)))])
    )


def _read_or_refuse(folders: pytest.TempPathFactory, content: bytes) -> None:
    path = folders.getbasetemp() / "fuzz.png"
    path.write_bytes(content)
    for read, dtype in ((read_image, np.uint8), (read_mask, np.bool_)):
        try:
            array = read(path)
        except InputError:
            continue
        assert array.dtype == dtype
        assert array.ndim == 2
        assert min(array.shape) >= MIN_SIDE


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64, np.bool_]
)
def test_arrays_of_any_dtype_become_gray(dtype: type) -> None:
    array = (GRAY > 99) if dtype is np.bool_ else GRAY.astype(dtype)
    gray = read_image(array)
    assert gray.dtype == np.uint8
    full = (
        GRAY
        if dtype == np.uint8
        else (array - float(array.min())) / (float(array.max()) - array.min()) * 255
    )
    np.testing.assert_allclose(gray, full, atol=0.5001)


def test_colour_arrays_become_gray_as_files_do(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, COLOUR[..., :1]])
    np.testing.assert_array_equal(read_image(COLOUR), GRAY)
    np.testing.assert_array_equal(read_image(rgba), GRAY)
    stretched = read_image(COLOUR.astype(np.float32)).astype(float)
    assert np.corrcoef(stretched.ravel(), GRAY.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("white", [0.99, 1.0])
def test_three_equal_channels_are_as_one(dtype: type, white: float) -> None:
    gray = np.full((16, 20), 0.4, dtype)
    gray[0, :3] = white, 0.6, 0.6
    colour = np.repeat(gray[..., None], 3, 2)
    assert read_image(gray)[0, 1:4].tolist() == [153, 153, 102]
    np.testing.assert_array_equal(read_image(colour), read_image(gray))


def test_whole_numbers_are_stretched_also_where_their_gray_is_in_0_to_1() -> None:
    colour = np.zeros((16, 20, 3), np.uint16)
    colour[0, 0, 1] = 1
    assert read_image(colour)[0, :2].tolist() == [255, 0]


def test_gray_does_not_share_memory_with_the_callers_array() -> None:
    gray = read_image(GRAY)
    assert not np.shares_memory(gray, GRAY)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((20, 20, 2), np.uint8),
        np.zeros(400, np.uint8),
        np.zeros((20, 20), complex),
        np.full((20, 20), "a"),
        np.zeros((0, 20), np.uint8),
        np.zeros((5, 20), np.uint8),
        np.full((20, 20), np.nan),
        np.broadcast_to(np.uint8(0), (20_000, 20_000)),
    ],
    ids=lambda array: f"{array.shape} {array.dtype}",
)
def test_arrays_that_are_no_image_are_refused(array: NDArray[np.generic]) -> None:
    with pytest.raises(InputError, match=r"^image: "):
        read_image(array)


@pytest.mark.parametrize("values", [(7, 7), (-1e308, 1e308), (0.0, 5e-324)])
def test_extreme_ranges_are_stretched_without_overflow(
    values: tuple[float, float],
) -> None:
    array = np.full((16, 16), values[0])
    array[0] = values[1]
    gray = read_image(array)
    assert gray[1].max() == 0
    assert gray[0].min() in (0, 255)


def _png16(channels: int, colour: int, pixels: NDArray[np.uint16]) -> bytes:
    """A 16-bit PNG of `pixels` (H, W, channels), whose rows are filtered in turn by nothing, left and above."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    step, previous, data = 2 * channels, np.zeros_like(rows[0]), b""
    for number, row in enumerate(rows):
        left = np.concatenate([np.zeros(step, np.uint8), row[:-step]])
        data += (
            bytes([number % 3])
            + (row - (np.zeros_like(row), left, previous)[number % 3]).tobytes()
        )
        previous = row

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = (
        chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("channels", "colour"), [(1, 0), (3, 2), (2, 4), (4, 6)])
@pytest.mark.parametrize("scale", [1, 16, 257])
def test_png_of_16_bits_keeps_both_bytes_in_every_colour(
    channels: int, colour: int, scale: int
) -> None:
    pixels = np.repeat(GRAY[..., None].astype(np.uint16) * scale, channels, 2)
    if channels in (2, 4):
        pixels[..., -1] = RANDOM.integers(0, 65536, GRAY.shape)
    expected = read_image(pixels[..., 0])
    content = _png16(channels, colour, pixels)
    np.testing.assert_allclose(read_image(content), expected, atol=1)
    np.testing.assert_allclose(
        read_image(Image.open(io.BytesIO(content))), expected, atol=1
    )


def test_a_loaded_png_of_16_bit_colours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.png"
    path.write_bytes(_png16(3, 2, np.repeat(GRAY[..., None].astype(np.uint16), 3, 2)))
    with Image.open(path) as image:
        image.load()
        with pytest.raises(
            InputError,
            match=r"scan\.png: Pillow has loaded it, and kept only 8 of its 16 bits; give",
        ):
            read_image(image)


UPRIGHT: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}
"""EXIF 2.3, tag 274: what turns the stored pixels upright."""


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_all_orientations_are_turned_upright(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x112] = orientation
    path, stored = tmp_path / "scan", _smooth(GRAY[:4, :5], 40, 30)
    Image.fromarray(stored).save(path, kind, exif=exif, quality=100)
    expected = UPRIGHT[orientation](stored)
    np.testing.assert_allclose(read_image(path), expected, atol=2)
    with Image.open(path) as image:
        np.testing.assert_allclose(read_image(image), expected, atol=2)
        assert (
            image.getexif().get(0x112) == orientation
        )  # the caller's image is as it was
        if kind != "TIFF":  # which Pillow itself turns, and not always rightly
            image.load()
            np.testing.assert_allclose(read_image(image), expected, atol=2)


class _Raw(io.BytesIO):
    """A file of which only some bytes come at a time, and that cannot go back."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 1, 1000))

    def seekable(self) -> bool:
        return False


class _Path:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_every_source_of_a_file_is_read_as_the_file(tmp_path: Path) -> None:
    for kind, content in VALID.items():
        path = tmp_path / f"{kind}.img"
        path.write_bytes(content)
        expected = read_image(path)
        at_end = io.BytesIO(content)
        at_end.seek(0, io.SEEK_END)
        sources: list[Any] = [
            str(path),
            _Path(path),
            content,
            bytearray(content),
            memoryview(content),
        ]
        sources += [
            io.BytesIO(content),
            at_end,
            _Raw(content),
            Image.open(io.BytesIO(content)),
        ]
        for source in sources:
            np.testing.assert_array_equal(read_image(source), expected)
        with path.open("rb") as file:
            np.testing.assert_array_equal(read_image(file), expected)
            assert not file.closed
        with Image.open(path) as image:
            np.testing.assert_array_equal(read_image(image), expected)
            image.load()
            np.testing.assert_array_equal(read_image(image), expected)


def test_a_record_says_where_it_is_from(tmp_path: Path) -> None:
    PICTURE.save(tmp_path / "scan.png")
    image = core_image.read_image(tmp_path / "scan.png", spacing=(0.1, 0.2))
    assert (image.source, image.spacing, image.doubts) == (
        str(tmp_path / "scan.png"),
        (0.1, 0.2),
        (),
    )
    with (tmp_path / "scan.png").open("rb") as file:
        assert core_image.read_image(file).source == str(tmp_path / "scan.png")
    assert core_image.read_image(COLOUR).source == "image"
    assert core_image.read_image(image) is image
    assert core_image.read_image(image, np.float32(0.5)).spacing == (0.5, 0.5)


def _closed() -> io.BytesIO:
    file = io.BytesIO(VALID["PNG"])
    file.close()
    return file


NO_IMAGES = {
    "None": (None, "a NoneType is not an image; give a file"),
    "number": (7, "a int is not an image"),
    "list": ([[1, 2], [3, 4]], "a list is not an image"),
    "text": (io.StringIO("text"), 'is open as text; open it with "rb"'),
    "empty": (b"", "is empty"),
    "no image": (b"text " * 99, "not a picture that can be read"),
    "closed": (_closed(), "cannot be read"),
    "masked": (np.ma.masked_less(GRAY, 9), "the array has masked pixels"),
    "animation": (
        Image.open(
            io.BytesIO(
                _save(PICTURE, "GIF", save_all=True, append_images=[PICTURE.rotate(9)])
            )
        ),
        "2 frames",
    ),
    "cut short": (Image.open(io.BytesIO(VALID["JPEG"][:900])), "damaged or cut short"),
    "small": (Image.new("L", (4, 40)), "4 × 40 pixels, too small"),
    "LAB": (Image.new("LAB", (40, 40)), "of the mode LAB"),
}


@pytest.mark.parametrize("kind", NO_IMAGES)
def test_what_is_no_image_is_refused_with_what_it_was(kind: str) -> None:
    source, problem = NO_IMAGES[kind]
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=problem) as error:
            read(source)
        assert str(error.value).startswith("image: ")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("height", [16, 255, 256, 257, 700])
def test_tall_images_are_stretched_in_parts_as_in_one(height: int) -> None:
    numbers = RANDOM.normal(size=(height, 20))
    expected = (numbers - numbers.min()) / np.ptp(numbers) * 255
    np.testing.assert_allclose(read_image(numbers), expected, atol=0.5001)
    colour = RANDOM.integers(0, 65536, (height, 20, 3)).astype(np.uint16)
    np.testing.assert_allclose(
        read_image(_png16(3, 2, colour)), read_image(colour), atol=1
    )


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        (0.5, (0.5, 0.5)),
        (1, (1.0, 1.0)),
        (np.float32(0.5), (0.5, 0.5)),
        (np.float64(0.1), (0.1, 0.1)),
        (np.int64(2), (2.0, 2.0)),
        (np.uint8(2), (2.0, 2.0)),
        (Fraction(1, 4), (0.25, 0.25)),
        ((0.1, np.float64(0.2)), (0.1, 0.2)),
        (MultiValue(DSfloat, ["0.1", "0.2"]), (0.1, 0.2)),
        (np.array([0.1, 0.2]), (0.1, 0.2)),
        (np.array([1, 2], np.uint8), (1.0, 2.0)),
        (np.array(0.1), (0.1, 0.1)),
        (None, None),
    ],
)
def test_numbers_of_any_kind_are_a_spacing(spacing: Any, expected: Any) -> None:
    result = pixel_spacing(spacing)
    assert result == expected
    assert result is None or {type(length) for length in result} == {float}


NO_SPACINGS = [
    True,
    np.True_,
    "0.1",
    b"1",
    b"\1\1",
    "11",
    0,
    -1,
    np.nan,
    -np.inf,
    np.float32(0),
    10**400,
    1j,
    [0.1],
    (0.1,),
    (0.1, 0),
]
NO_SPACINGS += [(0.1, 0.1, 0.1), np.array([0.1]), np.full((2, 2), 0.1), object()]
NO_SPACINGS += [np.array([True, True]), np.ma.array([0.1, 0.1], mask=[0, 1])]
NO_SPACINGS += [80, 1e200, 1e-200, (0.1, 11)]  # another unit than mm


@pytest.mark.parametrize("spacing", NO_SPACINGS, ids=lambda one: str(one)[:20])
def test_what_is_no_spacing_is_refused(spacing: Any) -> None:
    with pytest.raises(
        InputError, match=r"^spacing: .* is not a pixel size; give mm per pixel"
    ):
        pixel_spacing(spacing)


def test_a_pil_image_that_was_closed_is_refused_as_such(tmp_path: Path) -> None:
    for kind in ("png", "jpg", "tif", "bmp"):
        path = tmp_path / f"a.{kind}"
        Image.new("L", (20, 20)).save(path)
        image = Image.open(path)
        image.close()
        with pytest.raises(
            InputError,
            match=r"a PIL image that was closed before it was loaded; open it again",
        ):
            read_image(image)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0.1", (0.1, 0.1)),
        ("0.1,0.08", (0.1, 0.08)),
        ("0.1 0.08", (0.1, 0.08)),
        ("2", (2, 2)),
    ],
)
def test_a_spacing_is_read_from_text(text: str, expected: tuple[float, float]) -> None:
    assert parse_spacing(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x", "0.1,0.2,0.3", "0,1", "-1", "nan", "0.1mm", "20", "0.1,", ",0.1"]
)
def test_text_that_is_no_spacing_is_refused(text: str) -> None:
    with pytest.raises(
        InputError, match=r"^spacing: .* is not a pixel size; give mm per pixel"
    ):
        parse_spacing(text)


def test_a_decimal_comma_is_not_taken_for_two_numbers() -> None:
    with pytest.raises(InputError, match=r"differ more than 4 times; .* decimal point"):
        parse_spacing("1,5")


def test_a_part_of_a_file_names_its_frame_and_region() -> None:
    assert str(ImageSource("scan.dcm")) == "scan.dcm"
    part = ImageSource("scan.dcm", 3, (10, 20, 300, 200))
    assert str(part) == "scan.dcm, frame 3, region 300 × 200 at (10, 20)"
