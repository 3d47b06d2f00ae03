"""Pictures of every kind are read alike, and whatever is no picture gives one clear error."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sonoseg.errors import InputError
from sonoseg.reader.images import (
    MIN_SIDE,
    enlarge,
    reach,
    read_image,
    read_mask,
    resize_image,
    resize_mask,
    to_gray,
)

RANDOM = np.random.default_rng(0)
COLOUR = RANDOM.integers(0, 256, (40, 52, 3), dtype=np.uint8)
GRAY = np.array(Image.fromarray(COLOUR).convert("L"))


@pytest.fixture(autouse=True)
def _no_warnings() -> None:
    warnings.simplefilter("error")


def _png_header(width: int, height: int) -> bytes:
    """A PNG that says it is huge, with next to no data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "A.TIFF", "no_suffix"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_lossless_pictures_give_their_gray_values(tmp_path: Path, name: str, mode: str) -> None:
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
    smooth = resize_image(GRAY[:8, :8], (64, 64))
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
        np.testing.assert_array_equal(image, to_gray(twelve_bit))
        np.testing.assert_allclose(image, (twelve_bit - 100.0) / 3995 * 255, atol=0.5001)


def test_float_tiff_is_stretched_and_nan_refused(tmp_path: Path) -> None:
    values = RANDOM.normal(size=(30, 40)).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert (read_image(tmp_path / "a.tif").min(), read_image(tmp_path / "a.tif").max()) == (0, 255)
    for bad in (np.nan, np.inf):
        values[3, 4] = bad
        Image.fromarray(values).save(tmp_path / "bad.tif")
        with pytest.raises(InputError, match=r"bad\.tif: has pixels that are not finite"):
            read_image(tmp_path / "bad.tif")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_turns_the_picture_upright(tmp_path: Path, suffix: str) -> None:
    upright = resize_image(GRAY[:6, :6], (40, 60))
    exif = Image.Exif()
    exif[0x112] = 6  # stored a quarter turn to the left
    Image.fromarray(np.rot90(upright)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - upright).mean() < 3


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "P"])
def test_masks_of_any_mode_are_the_same_mask(tmp_path: Path, mode: str) -> None:
    expected = GRAY > 128
    Image.fromarray(expected).convert("L").convert(mode).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(mask, expected)


def test_mask_counts_every_value_above_black_and_ignores_alpha(tmp_path: Path) -> None:
    labels = (GRAY // 64).astype(np.uint8)
    rgba = np.dstack([labels, labels, labels, np.where(labels > 0, 0, 255).astype(np.uint8)])
    Image.fromarray(rgba).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), labels > 0)
    Image.fromarray(labels.astype(np.uint16) * 256).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "deep.png"), labels > 0)


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
    "20000x20000": (_png_header(20_000, 20_000), "over 100 megapixels"),
    "10001x10001": (_png_header(10_001, 10_001), r"over 100 megapixels \(10001 × 10001"),
    "two pages": (_save(PICTURE, "TIFF", save_all=True, append_images=[PICTURE]), "2 frames; split"),
    "animated PNG": (
        _save(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(9)]),
        "2 frames; split",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_picture_is_told_in_one_line_with_file_fault_and_mend(tmp_path: Path, kind: str) -> None:
    content, fault = BAD[kind]
    path = tmp_path / "scan.png"
    path.write_bytes(content)
    for read in (read_image, read_mask):
        with pytest.raises(InputError, match=fault) as error:
            read(path)
        assert str(error.value).startswith(str(path))
        assert error.value.mend
        assert "\n" not in str(error.value)


def test_a_huge_header_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    import tracemalloc

    (tmp_path / "a.png").write_bytes(_png_header(9_999, 10_002))
    tracemalloc.start()
    with pytest.raises(InputError, match="over 100 megapixels"):
        read_image(tmp_path / "a.png")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10_000_000


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=400), head=st.sampled_from(["", *VALID]))
def test_random_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, head: str) -> None:
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
    _read_or_refuse(tmp_path_factory, bytes(content[: data.draw(st.integers(1, len(content)))]))


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


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32, np.float64, np.bool_])
def test_arrays_of_any_dtype_become_gray(dtype: type) -> None:
    array = (GRAY > 99) if dtype is np.bool_ else GRAY.astype(dtype)
    gray = to_gray(array)
    assert gray.dtype == np.uint8
    full = GRAY if dtype == np.uint8 else (array - float(array.min())) / (float(array.max()) - array.min()) * 255
    np.testing.assert_allclose(gray, full, atol=0.5001)


def test_colour_arrays_become_gray_as_files_do(tmp_path: Path) -> None:
    rgba = np.dstack([COLOUR, COLOUR[..., :1]])
    np.testing.assert_array_equal(to_gray(COLOUR), GRAY)
    np.testing.assert_array_equal(to_gray(rgba), GRAY)
    stretched = to_gray(COLOUR.astype(np.float32)).astype(float)
    assert np.corrcoef(stretched.ravel(), GRAY.ravel())[0, 1] > 0.9999


def test_gray_does_not_share_memory_with_the_callers_array() -> None:
    gray = to_gray(GRAY)
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
        to_gray(array)


@pytest.mark.parametrize("values", [(7, 7), (-1e308, 1e308), (0.0, 5e-324)])
def test_extreme_ranges_are_stretched_without_overflow(values: tuple[float, float]) -> None:
    array = np.full((16, 16), values[0])
    array[0] = values[1]
    gray = to_gray(array)
    assert gray[1].max() == 0
    assert gray[0].min() in (0, 255)


def test_resizing_averages_when_it_shrinks_and_keeps_masks_hard() -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    shrunk = resize_image(checkers, (16, 20))
    assert shrunk.shape == (16, 20)
    assert np.abs(shrunk.astype(int) - 127).max() <= 16
    mask = resize_mask(GRAY > 128, (80, 104))
    np.testing.assert_array_equal(mask[::2, ::2], GRAY > 128)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("shape", [(700, 1000), (192, 192), (193, 250), (2000, 192)])
def test_maps_are_enlarged_as_pillow_does_it(shape: tuple[int, int]) -> None:
    small = np.random.default_rng(0).random((192, 192), np.float32)
    picture = Image.fromarray(small).resize(shape[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(enlarge(small, shape), np.asarray(picture), atol=1e-6)


@pytest.mark.parametrize("shape", [(700, 1000), (48, 64), (16, 500), (64, 48), (47, 100)])
def test_outside_its_reach_nothing_is_over_the_threshold_and_inside_all_is_the_same(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    for lesions in (0, 1, 2, 40):
        small = random.random((48, 64), np.float32) * 0.39
        small[random.integers(0, 48, lesions), random.integers(0, 64, lesions)] = 0.9
        whole, region = enlarge(small, shape), reach(small >= 0.4, shape)
        np.testing.assert_array_equal(enlarge(small, shape, region), whole[region])
        found = whole >= 0.4
        found[region] = False
        assert not found.any()
    assert enlarge(small, shape).shape == shape
    assert enlarge(np.zeros((2, 2), np.float32), (5, 5), reach(np.zeros((2, 2), bool), (5, 5))).shape == (0, 0)
