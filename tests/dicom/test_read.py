"""What is read of real and made files: frames, regions, spacing, colour, gray values."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, make_dataset, region_item
from numpy.typing import NDArray
from PIL import Image
from PIL import Image as PillowImage
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels import pixel_array

from sonoseg.data.dicom_phantom import make_screen
from sonoseg.dicom.read import UNUSED_BITS, DicomFile, read_dicom
from sonoseg.errors import InputError

Whole = tuple[int, int, int, int]
CX50 = (120, 60, 680, 459)
CX50_MM = 0.26228787661969977
SONOSITE_MM = 0.5104970559477806
ALOKA = [(32, 24, 304, 392), (336, 24, 304, 392)]
ALOKA_MM = 0.3826530650258064
BEYOND = "beyond the image"
COLOURS = "has colours"

# name: frames, regions (left, top, width, height), mm per pixel, what is doubted of the last frame, by |
TABLE: dict[str, tuple[int, list[Whole], float | None, str]] = {
    "ExplVR_BigEnd.dcm": (1, [(0, 0, 80, 60)], None, COLOURS),
    "examples_jpeg2k.dcm": (1, [(0, 0, 640, 480)], None, COLOURS),
    "examples_palette.dcm": (1, [(0, 0, 800, 350)], None, BEYOND),
    "examples_rgb_color.dcm": (1, [(0, 0, 320, 240)], None, COLOURS),
    "examples_ybr_color.dcm": (30, [(0, 0, 320, 240)], None, BEYOND),
    "JPGLosslessP14SV1_1s_1f_8b.dcm": (
        1,
        [(14, 38, 997, 721)],
        0.25476696592378156,
        "",
    ),
    "OBXXXX1A.dcm": (1, [CX50], CX50_MM, ""),
    "OBXXXX1A_2frame.dcm": (2, [CX50], CX50_MM, COLOURS),
    "OBXXXX1A_expb.dcm": (1, [CX50], CX50_MM, ""),
    "OBXXXX1A_expb_2frame.dcm": (2, [CX50], CX50_MM, COLOURS),
    "OBXXXX1A_rle.dcm": (1, [CX50], CX50_MM, ""),
    "OBXXXX1A_rle_2frame.dcm": (2, [CX50], CX50_MM, COLOURS),
    "US1_J2KI.dcm": (1, [(0, 0, 640, 480)], None, COLOURS),
    "US1_J2KR.dcm": (1, [(0, 0, 640, 480)], None, COLOURS),
    "US1_UNCI.dcm": (1, [(0, 0, 640, 480)], None, COLOURS),
    "US1_UNCR.dcm": (1, [(0, 0, 640, 480)], None, COLOURS),
    "color-pl.dcm": (1, [(0, 0, 256, 120)], None, f"not square|{COLOURS}"),
    "color-px.dcm": (1, [(0, 0, 256, 120)], None, f"not square|{COLOURS}"),
    "color3d_jpeg_baseline.dcm": (120, [(84, 31, 512, 384)], SONOSITE_MM, ""),
    "gdcm-US-ALOKA-16.dcm": (1, ALOKA, ALOKA_MM, ""),
    "gdcm-US-ALOKA-16_big.dcm": (1, ALOKA, ALOKA_MM, ""),
}


@pytest.mark.parametrize("name", TABLE)
def test_real_files(real: Callable[[str], Path], name: str) -> None:
    frames, boxes, spacing, doubt = TABLE[name]
    file = read_dicom(real(name))
    assert file.frames == frames
    regions = file.layout.regions
    assert [(one.left, one.top, one.width, one.height) for one in regions] == boxes
    for region in regions:
        assert region.spacing == (
            None if spacing is None else pytest.approx((spacing, spacing))
        )
    views = list(file.views([frames]))
    assert [view.number for view in views] == list(range(1, len(boxes) + 1))
    for view in views:
        assert view.frame == frames
        assert view.image.pixels.shape == (view.region.height, view.region.width)
        assert view.image.pixels.dtype == np.uint8 and view.image.pixels.std() > 1
        wanted = doubt.split("|") if doubt else []
        for words, said in zip(wanted, view.image.doubts, strict=True):
            assert words in said
        whole = view.whole(view.image.pixels)
        assert whole.shape == file.shape
        np.testing.assert_array_equal(whole[view.region.slices], view.image.pixels)
        assert whole.sum(dtype=int) == view.image.pixels.sum(dtype=int)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("OBXXXX1A.dcm", "OBXXXX1A_expb.dcm"),
        ("OBXXXX1A.dcm", "OBXXXX1A_rle.dcm"),
        ("OBXXXX1A_2frame.dcm", "OBXXXX1A_expb_2frame.dcm"),
        ("OBXXXX1A_2frame.dcm", "OBXXXX1A_rle_2frame.dcm"),
        ("gdcm-US-ALOKA-16.dcm", "gdcm-US-ALOKA-16_big.dcm"),
        ("US1_UNCR.dcm", "US1_J2KR.dcm"),
        ("color-px.dcm", "color-pl.dcm"),
    ],
)
def test_the_same_picture_stored_in_two_ways(
    real: Callable[[str], Path], one: str, other: str
) -> None:
    first, second = (list(read_dicom(real(name)).views()) for name in (one, other))
    for left, right in zip(first, second, strict=True):
        np.testing.assert_array_equal(left.image.pixels, right.image.pixels)


def test_colour_becomes_luminance(real: Callable[[str], Path]) -> None:
    path = real("US1_UNCR.dcm")
    raw = np.frombuffer(pydicom.dcmread(path).PixelData, np.uint8)[: 480 * 640 * 3]
    expected = raw.reshape(480, 640, 3) @ np.array([0.299, 0.587, 0.114])
    (view,) = read_dicom(path).views()
    assert np.abs(view.image.pixels - expected).max() <= 1


def test_a_jpeg_loop_has_the_pixels_of_its_jpegs(real: Callable[[str], Path]) -> None:
    dataset = pydicom.dcmread(real("color3d_jpeg_baseline.dcm"))
    jpegs = list(
        pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=120)
    )
    for frame in (1, 77, 120):
        with Image.open(io.BytesIO(jpegs[frame - 1])) as picture:
            expected = np.asarray(picture.convert("L"))[31 : 31 + 384, 84 : 84 + 512]
        (view,) = read_dicom(real("color3d_jpeg_baseline.dcm")).views([frame])
        assert np.abs(view.image.pixels.astype(int) - expected).max() <= 2


def _gray(dataset: pydicom.Dataset) -> NDArray[np.uint8]:
    (view,) = read_dicom(as_bytes(dataset)).views()
    return view.image.pixels


def _ramp(dtype: Any, low: int, high: int) -> NDArray[Any]:
    return np.linspace(low, high, 32 * 32).round().astype(dtype).reshape(32, 32)


def test_8_bits_keep_their_values_and_monochrome1_is_inverted() -> None:
    ramp = _ramp(np.uint8, 0, 255)
    np.testing.assert_array_equal(_gray(make_dataset(ramp)), ramp)
    np.testing.assert_array_equal(_gray(make_dataset(ramp, "MONOCHROME1")), 255 - ramp)


def test_16_bits_are_scaled_by_the_bits_that_are_stored() -> None:
    ramp = _ramp(np.uint16, 0, 4095)
    gray = _gray(make_dataset(ramp, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(gray, np.rint(ramp / 4095 * 255))


def test_signed_samples_begin_below_zero() -> None:
    ramp = _ramp(np.int16, -2048, 2047)
    gray = _gray(make_dataset(ramp, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(gray, np.rint((ramp + 2048.0) / 4095 * 255))


@pytest.mark.parametrize(
    ("kind", "low", "high", "bits"),
    [
        (np.uint16, 0, 4095, 12),
        (np.uint16, 300, 1000, 10),
        (np.uint16, 0, 200, 8),
        (np.uint16, 0, 16383, 14),
        (np.uint16, 0, 16384, 16),
        (np.uint16, 0, 65535, 16),
        (np.int16, 0, 4095, 12),
        (np.int16, -2048, 2047, 12),
        (np.int16, -12800, 12700, 16),
    ],
)
def test_values_that_need_fewer_bits_than_the_file_says(
    kind: type, low: int, high: int, bits: int
) -> None:
    ramp = _ramp(kind, low, high)
    begin = -(2 ** (bits - 1)) if low < 0 else 0
    expected = np.rint((ramp.astype(float) - begin) / (2**bits - 1) * 255)
    for slope in (1, 2):
        content = as_bytes(make_dataset(ramp, RescaleSlope=slope, RescaleIntercept=7))
        (view,) = read_dicom(content).views()
        np.testing.assert_array_equal(view.image.pixels, expected)
        assert (UNUSED_BITS in view.image.doubts) == (bits < 16)
    black = make_dataset(ramp, "MONOCHROME1")
    np.testing.assert_array_equal(_gray(black), 255 - expected)
    window = {"WindowCenter": 2000, "WindowWidth": 4000}
    (view,) = read_dicom(as_bytes(make_dataset(ramp, **window))).views()
    assert UNUSED_BITS not in view.image.doubts


def test_the_regions_of_a_frame_have_one_range() -> None:
    pixels = np.full((64, 96), 1000, np.uint16)
    pixels[:, 48:] = 4000
    boxes = [(0, 0, 39, 63), (48, 0, 95, 63)]
    regions = [region_item(box, (0.01, 0.01)) for box in boxes]
    file = read_dicom(as_bytes(make_dataset(pixels, regions=regions)))
    grays = {int(view.image.pixels.max()) for view in file.views()}
    assert grays == {round(1000 / 4095 * 255), round(4000 / 4095 * 255)}
    assert set(np.unique(file.picture())) == grays


def test_a_window_is_applied_after_the_rescale() -> None:
    ramp = _ramp(np.uint16, 0, 4095)
    tags = {
        "RescaleSlope": 2,
        "RescaleIntercept": -100,
        "WindowCenter": 1000,
        "WindowWidth": 801,
    }
    gray = _gray(make_dataset(ramp, BitsStored=12, HighBit=11, **tags))
    values = ramp * 2.0 - 100
    expected = np.clip((values - 999.5) / 800 + 0.5, 0, 1) * 255
    np.testing.assert_array_equal(gray, np.rint(expected))
    dataset = make_dataset(ramp, BitsStored=12, HighBit=11, **tags)
    by_pydicom = pydicom.pixels.apply_windowing(values, dataset)
    span = by_pydicom.max() - by_pydicom.min()
    assert np.abs(gray - (by_pydicom - by_pydicom.min()) / span * 255).max() <= 0.51


@pytest.mark.parametrize("function", ["SIGMOID", "LINEAR_EXACT"])
def test_other_windows(function: str) -> None:
    ramp = _ramp(np.uint8, 0, 255)
    gray = _gray(
        make_dataset(ramp, WindowCenter=100, WindowWidth=80, VOILUTFunction=function)
    )
    share = (ramp - 100.0) / 80
    expected = 1 / (1 + np.exp(-4 * share)) if function == "SIGMOID" else share + 0.5
    np.testing.assert_array_equal(gray, np.rint(np.clip(expected, 0, 1) * 255))


def test_a_rescale_that_falls_inverts() -> None:
    ramp = _ramp(np.uint8, 0, 255)
    gray = _gray(make_dataset(ramp, RescaleSlope=-1, RescaleIntercept=255))
    np.testing.assert_array_equal(gray, 255 - ramp)


def test_ybr_full_uncompressed() -> None:
    luminance = _ramp(np.uint8, 0, 255)
    pixels = np.stack(
        [luminance, np.full_like(luminance, 128), np.full_like(luminance, 128)], -1
    )
    np.testing.assert_array_equal(_gray(make_dataset(pixels, "YBR_FULL")), luminance)


def test_rgb_by_planes() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 24), np.uint8)
    dataset = make_dataset(np.ascontiguousarray(pixels.transpose(1, 2, 0)), "RGB")
    expected = _gray(dataset)
    dataset.PlanarConfiguration, dataset.PixelData = 1, pixels.tobytes()
    np.testing.assert_array_equal(_gray(dataset), expected)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", [1, 256, 257])
def test_the_values_of_a_palette_count_not_the_bits_that_it_names(
    bits: int, scale: int
) -> None:
    """As viewers do: 8 bits in 16, in the lower or the upper byte, whatever the descriptor says."""
    indices = _ramp(np.uint8, 0, 255)
    dataset = make_dataset(indices, "PALETTE COLOR")
    table = (np.arange(256)[::-1] * scale).astype("<u2").tobytes()
    for colour in ("Red", "Green", "Blue"):
        setattr(dataset, f"{colour}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(dataset, f"{colour}PaletteColorLookupTableData", table)
    np.testing.assert_array_equal(_gray(dataset), 255 - indices)


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEGLSLossless])
def test_lossless_compression_keeps_all_frames(syntax: uid.UID) -> None:
    frames = np.random.default_rng(1).integers(0, 256, (3, 40, 50), np.uint8)
    dataset = make_dataset(frames)
    dataset.compress(syntax, generate_instance_uid=False)
    views = list(read_dicom(as_bytes(dataset)).views())
    assert [view.frame for view in views] == [1, 2, 3]
    for view, frame in zip(views, frames, strict=True):
        np.testing.assert_array_equal(view.image.pixels, frame)


def test_a_deflated_file() -> None:
    ramp = _ramp(np.uint8, 0, 255)
    dataset = make_dataset(ramp)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    np.testing.assert_array_equal(_gray(dataset), ramp)


@pytest.mark.parametrize("explicit", [True, False])
def test_a_file_without_preamble(explicit: bool) -> None:
    ramp = _ramp(np.uint8, 0, 255)
    dataset = make_dataset(ramp)
    buffer = io.BytesIO()
    del dataset.file_meta
    pydicom.dcmwrite(
        buffer,
        dataset,
        implicit_vr=not explicit,
        little_endian=True,
        enforce_file_format=False,
    )
    content = buffer.getvalue()
    assert b"DICM" not in content
    (view,) = read_dicom(content).views()
    np.testing.assert_array_equal(view.image.pixels, ramp)


def _layout(*regions: pydicom.Dataset, **tags: Any) -> DicomFile:
    pixels = np.zeros((200, 300), np.uint8)
    return read_dicom(as_bytes(make_dataset(pixels, regions=regions, **tags)))


def test_rows_and_columns_have_their_own_spacing() -> None:
    file = _layout(region_item((10, 20, 209, 179), (-0.02, 0.01)))
    (region,) = file.layout.regions
    assert (region.left, region.top, region.width, region.height) == (10, 20, 200, 160)
    assert region.spacing == pytest.approx((0.2, 0.1))


def test_doppler_over_the_region_is_a_doubt_and_beside_it_is_not() -> None:
    tissue = region_item((0, 0, 149, 199), (0.01, 0.01))
    over, beside = (
        region_item((left, 50, left + 40, 90), (0.01, 0.01), 2) for left in (60, 200)
    )
    assert "Doppler" in _layout(tissue, over).layout.doubts[0]
    assert _layout(tissue, beside).layout.doubts == ()


def test_split_screens_of_two_scales_keep_both() -> None:
    right = region_item((150, 0, 299, 199), (0.02, 0.02))
    left = region_item((0, 0, 149, 199), (0.01, 0.01))
    regions = _layout(right, left).layout.regions
    assert [one.left for one in regions] == [0, 150]
    assert [one.spacing for one in regions] == [
        pytest.approx((0.1, 0.1)),
        pytest.approx((0.2, 0.2)),
    ]


def test_overlapping_regions_of_two_scales_void_the_scale() -> None:
    file = _layout(
        region_item((0, 0, 199, 199), (0.01, 0.01)),
        region_item((150, 0, 299, 199), (0.02, 0.02)),
    )
    assert file.layout.regions[0].spacing is None and "overlap" in file.layout.doubts[0]


def test_a_region_without_a_place_is_not_passed_over() -> None:
    left = region_item((0, 0, 149, 199), (0.01, 0.01))
    missing, turned = (region_item((150, 0, 299, 199), (0.01, 0.01)) for _ in range(2))
    del missing.RegionLocationMinX0
    turned.RegionLocationMinX0, turned.RegionLocationMaxX1 = 299, 150
    for right in (missing, turned):
        layout = _layout(left, right).layout
        (region,) = layout.regions
        assert (region.width, region.height, region.spacing) == (300, 200, None)
        assert "does not say where one of its regions is" in layout.doubts[0]


@pytest.mark.parametrize(
    ("right", "is_known"), [(299, True), (300, True), (301, False)]
)
def test_one_pixel_beyond_is_counting_from_1_two_are_another_image(
    right: int, is_known: bool
) -> None:
    file = _layout(
        region_item((0, 0, right, 199), (0.01, 0.01)), PixelSpacing=[0.3, 0.3]
    )
    (region,) = file.layout.regions
    assert region.width == 300
    assert region.spacing == (pytest.approx((0.1, 0.1)) if is_known else None)


def test_pixel_spacing_serves_where_no_region_has_a_scale() -> None:
    assert _layout(PixelSpacing=[0.2, 0.1]).layout.regions[0].spacing == (0.2, 0.1)
    motion = region_item((0, 0, 99, 99), (0.01, 0.01), form=2)
    assert _layout(motion).layout.regions[0].spacing is None
    seconds = region_item((0, 0, 99, 99), (0.01, 0.01))
    seconds.PhysicalUnitsXDirection = 4
    assert _layout(seconds).layout.regions[0].spacing is None


def test_a_secondary_capture_is_read_if_it_is_ultrasound() -> None:
    tags = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}
    assert _layout(**tags).frames == 1
    with pytest.raises(
        InputError, match=r"not an ultrasound image .Secondary Capture.*modality CT"
    ):
        _layout(Modality="CT", **tags)


def test_picture_is_the_whole_frame_in_colour(real: Callable[[str], Path]) -> None:
    path = real("US1_UNCR.dcm")
    np.testing.assert_array_equal(read_dicom(path).picture(), pixel_array(path))


def test_a_loop_is_never_in_memory_at_once(tmp_path: Path) -> None:
    frames = 2000
    dataset = make_dataset(np.zeros((2, 480, 640), np.uint8))
    dataset.NumberOfFrames = frames
    dataset.PixelData = b""
    path = tmp_path / "loop.dcm"
    head = as_bytes(dataset)[:-4]
    size = frames * 480 * 640
    with path.open("wb") as file:
        file.write(head + size.to_bytes(4, "little"))
        file.truncate(len(head) + 4 + size)  # a sparse file of 614 MB
    code = (
        "import pathlib, sys; from sonoseg.dicom.read import read_dicom\n"
        "count = sum(1 for view in read_dicom(sys.argv[1]).views())\n"
        "lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
        "(peak,) = [line.split()[1] for line in lines if line.startswith('VmHWM')]\n"
        "print(count, int(peak) // 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True
    )
    count, megabytes = map(int, done.stdout.split())
    assert count == frames and megabytes < 300


def test_a_loop_in_jpeg_2000_is_read_frame_by_frame() -> None:
    frames = make_screen("loop", 3).frames[:5]
    dataset = make_dataset(frames)
    encoded = []
    for frame in frames:
        buffer = io.BytesIO()
        picture = PillowImage.fromarray(frame)
        picture.save(buffer, "JPEG2000", no_jp2=True, irreversible=False)
        encoded.append(buffer.getvalue())
    dataset.PixelData = encapsulate(encoded)
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    file = read_dicom(as_bytes(dataset))
    assert file.frames == 5
    views = list(file.views())
    assert [view.frame for view in views] == [1, 2, 3, 4, 5]
    for view, frame in zip(views, frames, strict=True):
        np.testing.assert_array_equal(view.image.pixels, frame)
    (last,) = file.views([5])
    np.testing.assert_array_equal(last.image.pixels, frames[4])
