"""JPEG data of all kinds whose size, samples or bits are not those of the header."""

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
from dicom_files import as_bytes, find_real, make_dataset
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from test_seg import ALGORITHM

from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.seg import make_fractional_seg
from sonoseg.dicom.seg_to_mask import read_seg, union_by_frame
from sonoseg.errors import InputError

RAMP = np.arange(64 * 80, dtype=np.uint16).reshape(64, 80)
SMALL = RAMP.astype(np.uint8)
SYNTAXES = {
    "jpeg": uid.JPEGBaseline8Bit,
    "j2k": uid.JPEG2000Lossless,
    "jls": uid.JPEGLSLossless,
    "lossless": uid.JPEGLosslessSV1,
}
Lossless = Callable[[Dataset], Dataset]


@pytest.fixture
def lossless(tmp_path: Path) -> Lossless:
    """Compresses an image as lossless JPEG with all bits that are allocated, as GDCM does (so does DCMTK)."""

    def compressed(dataset: Dataset) -> Dataset:
        tool = Path(sys.executable).parent / "gdcmconv"
        (tmp_path / "plain.dcm").write_bytes(as_bytes(dataset))
        command = [tool, "--jpeg", "plain.dcm", "jpeg.dcm"]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
        return pydicom.dcmread(tmp_path / "jpeg.dcm")

    return compressed


def _stream(kind: str, pixels: NDArray[Any], lossless: Lossless) -> bytes:
    if kind in ("jls", "lossless"):
        dataset = make_dataset(pixels)
        if kind == "jls":
            dataset.compress(uid.JPEGLSLossless)
        else:
            dataset = lossless(dataset)
        return next(generate_frames(dataset.PixelData, number_of_frames=1))
    buffer = io.BytesIO()
    options = {"no_jp2": True} if kind == "j2k" else {}
    name = "JPEG2000" if kind == "j2k" else "JPEG"
    Image.fromarray(pixels).save(buffer, name, **options)
    return buffer.getvalue()


def _with(dataset: Dataset, kind: str, stream: bytes) -> Dataset:
    dataset.PixelData = encapsulate([stream])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[kind]
    return dataset


STREAMS = [
    ("jpeg", SMALL, "80 × 64 pixels with 1 samples of 8 bits"),
    ("jpeg", SMALL[:50], "80 × 50"),
    ("jpeg", np.ascontiguousarray(SMALL.T), "64 × 80"),
    ("jls", np.ascontiguousarray(SMALL.T), "64 × 80"),
    ("jls", np.tile(SMALL, (3, 3)), "240 × 192"),
    ("jls", SMALL[:50], "80 × 50"),
    ("jls", RAMP, "1 samples of 16 bits"),
    ("j2k", np.ascontiguousarray(SMALL.T), "64 × 80"),
    ("j2k", RAMP, "1 samples of 16 bits"),
    ("j2k", np.stack([SMALL] * 3, axis=-1), "3 samples of 8 bits"),
    ("lossless", RAMP, "1 samples of 16 bits"),
    ("lossless", SMALL[:50], "80 × 50"),
]
"""What lies in a file that says 64 rows, 80 columns, 1 sample of 8 bits; only the first does as it says."""


def test_an_image_whose_stream_is_unlike_its_header_is_refused(
    lossless: Lossless,
) -> None:
    for place, (kind, pixels, words) in enumerate(STREAMS):
        dataset = make_dataset(np.zeros((64, 80), np.uint8))
        _with(dataset, kind, _stream(kind, pixels, lossless))
        file = read_dicom(as_bytes(dataset))
        if place == 0:
            assert len(list(file.views())) == 1
            continue
        with pytest.raises(InputError, match=f"{words}.*unlike its header"):
            list(file.views())


def test_a_segmentation_whose_stream_is_unlike_its_header_is_refused(
    lossless: Lossless, tmp_path: Path
) -> None:
    """In another process: GDCM would end it."""
    image = read_dicom(as_bytes(make_dataset(np.zeros((64, 80), np.uint8))))
    paths = []
    for place, (kind, pixels, _) in enumerate(STREAMS):
        seg = make_fractional_seg(image, np.zeros((64, 80), np.float32), ALGORITHM)
        paths.append(tmp_path / f"{place}.dcm")
        _with(seg, kind, _stream(kind, pixels, lossless)).save_as(paths[-1])
    code = (
        "import sys; from sonoseg.errors import InputError\n"
        "from sonoseg.dicom.seg_to_mask import read_seg, union_by_frame\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(len(union_by_frame(read_seg(path))))\n"
        "    except InputError as error: print(error.problem)\n"
    )
    command = [sys.executable, "-c", code, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[0] == "1"
    for line, (_, _, words) in zip(lines[1:], STREAMS[1:], strict=True):
        assert words in line and "unlike its header" in line


@pytest.mark.parametrize("kind", ["jls", "j2k", "lossless"])
def test_a_compressed_segmentation_is_read(kind: str, lossless: Lossless) -> None:
    image = read_dicom(as_bytes(make_dataset(np.zeros((64, 80), np.uint8))))
    seg = make_fractional_seg(image, np.zeros((64, 80), np.float32), ALGORITHM)
    _with(seg, kind, _stream(kind, SMALL, lossless))
    (mask,) = union_by_frame(read_seg(as_bytes(seg))).values()
    np.testing.assert_array_equal(mask, SMALL > 127)


@pytest.mark.parametrize("stored", [8, 12, 16])
@pytest.mark.parametrize("is_signed", [False, True])
def test_lossless_jpeg_may_have_more_bits_than_are_stored(
    stored: int, is_signed: bool, lossless: Lossless
) -> None:
    """As DCMTK and GDCM write it: 16 bits for 12 or 8 of 16."""
    lowest = -(2 ** (stored - 1)) if is_signed else 0
    pixels = np.linspace(lowest, lowest + 2**stored - 1, 64 * 80).round()
    pixels = pixels.astype(np.int16 if is_signed else np.uint16).reshape(64, 80)
    plain = make_dataset(pixels, BitsStored=stored, HighBit=stored - 1)
    packed = lossless(plain)
    stream = next(generate_frames(packed.PixelData, number_of_frames=1))
    assert stream[stream.index(b"\xff\xc3") + 4] == 16
    assert packed.BitsStored == stored
    (expected,) = read_dicom(as_bytes(plain)).views()
    (found,) = read_dicom(as_bytes(packed)).views()
    np.testing.assert_array_equal(found.image.pixels, expected.image.pixels)


@pytest.mark.parametrize("stored", [8, 12])
@pytest.mark.parametrize("kind", ["jls", "j2k", "lossless"])
def test_values_beyond_the_stored_bits_are_refused(
    kind: str, stored: int, lossless: Lossless
) -> None:
    dataset = make_dataset(RAMP, BitsStored=stored, HighBit=stored - 1)
    _with(dataset, kind, _stream(kind, RAMP, lossless))
    with pytest.raises(InputError, match=f"more than the {stored} bits"):
        list(read_dicom(as_bytes(dataset)).views())
    real = pydicom.dcmread(find_real("JPGLosslessP14SV1_1s_1f_8b.dcm"))
    real.BitsStored, real.HighBit = 7, 6
    with pytest.raises(InputError, match="more than the 7 bits"):
        list(read_dicom(as_bytes(real)).views())


def test_jpeg_extended_of_12_bits_is_refused_by_its_reason() -> None:
    real = pydicom.dcmread(find_real("JPGExtended.dcm"))
    real.Modality = "US"
    with pytest.raises(InputError, match="JPEG Extended data of 12 bits, which cannot"):
        list(read_dicom(as_bytes(real)).views())
