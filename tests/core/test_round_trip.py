"""Whatever Pillow and PyAV can write is read back as it was drawn, or refused in one line."""

from __future__ import annotations

import io
from contextlib import closing
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core.image import read_image
from sonoseg.core.mask import read_mask
from sonoseg.errors import InputError
from sonoseg.reader.video import Clip

MODES = [
    "1",
    "L",
    "P",
    "LA",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "La",
    "CMYK",
    "YCbCr",
    "HSV",
    "LAB",
    "I",
    "F",
]
MODES += ["I;16", "I;16B"]
TIFF_COMPRESSIONS = [
    None,
    "packbits",
    "tiff_lzw",
    "tiff_adobe_deflate",
    "jpeg",
    "group3",
    "group4",
    "zstd",
    "lzma",
    "webp",
]
PATCH = 8
"""Images are drawn in squares, so that lossy formats keep their middles."""


@st.composite
def images(draw: st.DrawFn) -> NDArray[np.uint8]:
    """(H, W) gray squares, 0 and 255 among them: what is stretched comes back as it was."""
    rows, columns = draw(st.integers(2, 6)), draw(st.integers(2, 6))
    squares = np.random.default_rng(draw(st.integers(0, 9999))).integers(
        0, 256, (rows, columns), np.uint8
    )
    squares[0, :2] = 0, 255
    return squares.repeat(PATCH, 0).repeat(PATCH, 1)


@st.composite
def masks(draw: st.DrawFn) -> NDArray[np.bool_]:
    """(H, W), an ellipse or a box inside, or nothing."""
    height, width = draw(st.integers(32, 70)), draw(st.integers(32, 70))
    rows, columns = np.mgrid[:height, :width]
    row, column = draw(st.integers(12, height - 12)), draw(st.integers(12, width - 12))
    down, right = draw(st.integers(0, 11)), draw(st.integers(0, 11))
    if draw(st.booleans()):
        return (abs(rows - row) < down) & (abs(columns - column) < right)
    return ((rows - row) / (down + 0.1)) ** 2 + (
        (columns - column) / (right + 0.1)
    ) ** 2 < 1


def _in_mode(gray: NDArray[np.uint8], mode: str) -> Image.Image:
    image = Image.fromarray(gray)
    if mode in ("I;16", "I;16B"):
        return Image.frombytes(
            mode, image.size, gray.astype("<u2" if mode == "I;16" else ">u2").tobytes()
        )
    between = {"HSV": "RGB", "LAB": "RGB", "RGBa": "RGBA", "La": "LA", "PA": "P"}.get(
        mode, "L"
    )
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(
            image.convert("RGB"), *profiles, outputMode="LAB"
        )
        assert converted is not None
        return converted
    return image.convert(between).convert(mode)


@st.composite
def options(draw: st.DrawFn) -> tuple[str, dict[str, Any], int]:
    """A format of Pillow, options for saving in it, and an EXIF orientation."""
    kind, orientation = (
        draw(st.sampled_from(["PNG", "TIFF", "BMP", "JPEG"])),
        draw(st.integers(1, 8)),
    )
    saving: dict[str, Any] = {}
    if kind == "TIFF":
        saving = {"compression": draw(st.sampled_from(TIFF_COMPRESSIONS))}
    if kind == "JPEG":
        saving = {
            "quality": draw(st.integers(70, 100)),
            "progressive": draw(st.booleans()),
            "subsampling": 0,
        }
    if kind == "PNG":
        saving = {"optimize": draw(st.booleans())}
    if kind != "BMP" and orientation > 1:
        exif = Image.Exif()
        exif[0x112] = orientation
        saving["exif"] = exif
    return kind, saving, orientation if kind != "BMP" else 1


def _stored(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """How an upright picture is stored for a viewer to turn it by `orientation` (EXIF 2.3, tag 274)."""
    stored = upright.T if orientation in (5, 6, 7, 8) else upright
    stored = stored[::-1] if orientation in (3, 4, 6, 7) else stored
    return np.ascontiguousarray(
        stored[:, ::-1] if orientation in (2, 3, 7, 8) else stored
    )


def _sources(
    image: Image.Image, kind: str, saving: dict[str, Any], path: Path
) -> list[Any]:
    """A saved image as bytes, file, open file and PIL image; nothing if Pillow cannot save it so."""
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **saving)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError):
        return []
    path.write_bytes(buffer.getvalue())
    return [buffer.getvalue(), path, buffer, Image.open(buffer)]


def _checked(read: Any, source: Any) -> Any:
    try:
        return read(source).pixels
    except InputError as error:
        message = str(error)
        assert "; " in message
        assert "\n" not in message
        assert "damaged" not in message
        return None


@settings(
    max_examples=90,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(gray=images(), mode=st.sampled_from(MODES[1:]), saved=options())
def test_images_are_read_as_drawn_or_refused(
    tmp_path: Path,
    gray: NDArray[np.uint8],
    mode: str,
    saved: tuple[str, dict[str, Any], int],
) -> None:
    kind, saving, orientation = saved
    pixels = _checked(read_image, _in_mode(gray, mode))
    assert (
        pixels is None
        if mode == "LAB"
        else np.abs(pixels.astype(int) - gray).max() <= 1
    )
    is_lossy = kind == "JPEG" or saving.get("compression") == "jpeg"
    for source in _sources(
        _in_mode(_stored(gray, orientation), mode), kind, saving, tmp_path / "scan"
    ):
        pixels = _checked(read_image, source)
        assert (pixels is None) == (mode == "LAB")
        if pixels is not None:
            assert pixels.shape == gray.shape
            difference = np.abs(pixels.astype(int) - gray)
            assert np.median(difference) <= 12 if is_lossy else difference.max() <= 1


@settings(
    max_examples=90,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    mask=masks(),
    mode=st.sampled_from(MODES),
    saved=options(),
    white=st.sampled_from([1, 2, 15, 100, 255]),
)
def test_masks_are_read_as_drawn_or_refused(
    tmp_path: Path,
    mask: NDArray[np.bool_],
    mode: str,
    saved: tuple[str, dict[str, Any], int],
    white: int,
) -> None:
    kind, saving, orientation = saved
    white = 255 if mode in ("1", "CMYK", "YCbCr", "HSV", "P", "PA") else white
    pixels = _checked(read_mask, _in_mode(mask.astype(np.uint8) * white, mode))
    assert pixels is None if mode == "LAB" else np.array_equal(pixels, mask)
    is_lossy = kind == "JPEG" or saving.get("compression") == "jpeg"
    stored = _in_mode(_stored(mask, orientation).astype(np.uint8) * white, mode)
    for source in _sources(stored, kind, saving, tmp_path / "mask"):
        pixels = _checked(read_mask, source)
        assert (
            pixels is not None
            or mode == "LAB"
            or (is_lossy and (white <= 15 or mask.sum() < 60))
        )
        if pixels is not None and not (is_lossy and white <= 15):
            assert pixels.shape == mask.shape
            assert (pixels != mask).sum() <= (0.05 * mask.sum() + 4 if is_lossy else 0)


@settings(max_examples=40, deadline=None)
@given(
    mask=masks(),
    bits=st.sampled_from([1, 2, 4, 8]),
    ground=st.sampled_from([(0, 0, 0), (255, 255, 255), (0, 0, 90)]),
    lesion=st.tuples(*[st.integers(0, 255)] * 3),
    kind=st.sampled_from(["PNG", "TIFF", "BMP"]),
)
def test_palettes_are_read_by_their_colours_or_refused(
    mask: NDArray[np.bool_],
    bits: int,
    ground: tuple[int, ...],
    lesion: tuple[int, ...],
    kind: str,
) -> None:
    image = Image.fromarray(mask.astype(np.uint8)).convert("P")
    image.putpalette([*ground, *lesion])
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"bits": bits} if kind == "PNG" else {}))
    pixels = _checked(read_mask, buffer)
    if pixels is None:
        assert ground != (0, 0, 0)
    elif ground == (0, 0, 0) and (lesion != ground or kind != "BMP"):
        np.testing.assert_array_equal(pixels, mask)


LOSSLESS = [
    "ffv1",
    "huffyuv",
    "utvideo",
    "png",
    "qtrle",
    "libx264rgb",
    "magicyuv",
    "jpegls",
    "zlib",
    "bmp",
]
FORMATS = [
    (codec, one.name)
    for codec in LOSSLESS
    for one in av.codec.Codec(codec, "w").video_formats or ()
]
"""Of which one bit a pixel, or few colours, cannot keep what was drawn."""
FEW_COLOURS = (
    "mono",
    "pal8",
    "rgb8",
    "bgr8",
    "rgb4",
    "bgr4",
    "444be",
    "444le",
    "555",
    "565",
)
FORMATS = [
    (codec, name)
    for codec, name in FORMATS
    if not any(few in name for few in FEW_COLOURS)
]


def _drawn(gray: NDArray[np.uint8], name: str) -> av.VideoFrame:
    """A frame in this format. FFmpeg draws one in thirty wrongly in formats of ten bits: those are drawn again."""
    for _ in range(20):
        frame = av.VideoFrame.from_ndarray(gray, "gray").reformat(format=name)
        if np.abs(frame.to_ndarray(format="gray").astype(int) - gray).max() <= 3:
            break
    return frame


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(gray=images(), codec=st.sampled_from(FORMATS))
def test_frames_of_lossless_videos_are_read_as_drawn_or_refused(
    tmp_path: Path, gray: NDArray[np.uint8], codec: tuple[str, str]
) -> None:
    path = tmp_path / "clip.mkv"
    try:
        with av.open(str(path), "w") as file:
            stream: Any = file.add_stream(codec[0], rate=25, options={"qp": "0"})
            stream.height, stream.width = gray.shape
            stream.pix_fmt = codec[1]
            stream.codec_context.time_base = Fraction(1, 25)
            frame = _drawn(gray, codec[1])
            frame.pts, frame.time_base = 0, Fraction(1, 25)
            file.mux(stream.encode(frame))
            file.mux(stream.encode(None))
    except (av.FFmpegError, ValueError):  # not every codec goes with every format
        return
    try:
        with closing(Clip(path)) as clip:
            frames = list(clip.frames())
    except InputError as error:
        assert "\n" not in str(error)
        return
    assert np.abs(frames[0].image.astype(int) - gray).max() <= 3


def test_every_mode_can_be_made() -> None:
    for mode in MODES:
        if mode == "LAB":
            pytest.importorskip("PIL._imagingcms")
        assert _in_mode(np.zeros((20, 20), np.uint8), mode).mode == mode
