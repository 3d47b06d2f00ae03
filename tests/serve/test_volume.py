"""Volumes of one slice as ITK writes them are read as the picture they hold; labels are written as ITK reads them."""

import struct
import zlib

import numpy as np
import pytest
from tests.serve.volumes import COLOURS, PIXELS, VOLUMES

from sonoseg.errors import InputError
from sonoseg.serve.nifti import is_nifti, read_nifti
from sonoseg.serve.nrrd import is_nrrd, read_nrrd, write_nrrd
from sonoseg.serve.volume import Geometry

MOST = 10_000


def read(content, most=MOST):
    assert is_nrrd(content) != is_nifti(content)
    return (read_nrrd if is_nrrd(content) else read_nifti)(content, most)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("gray.nii.gz", PIXELS),
        ("int16.nii.gz", PIXELS),
        ("rgb.nii.gz", COLOURS),
        ("gray.nrrd", PIXELS),
        ("rgb.nrrd", COLOURS),
        ("float.nrrd", PIXELS.astype(np.float32) / 2),
    ],
)
def test_pixels_and_places_are_those_that_were_written(name, wanted):
    volume = read(VOLUMES[name])
    np.testing.assert_array_equal(volume.pixels, wanted)
    assert volume.pixels.dtype == wanted.dtype
    geometry = volume.geometry
    np.testing.assert_allclose(geometry.column, (0.2, 0, 0), atol=1e-7)
    np.testing.assert_allclose(geometry.row, (0, 0.1, 0), atol=1e-7)
    np.testing.assert_allclose(geometry.origin, (3, -4, 5))
    assert geometry.spacing == pytest.approx((0.1, 0.2))


def nrrd_with(*lines):
    """A file of 4 rows with 6 pixels, and these lines in its head."""
    head = ["NRRD0004", "type: uint8", "encoding: raw", *lines]
    return "\n".join(head).encode() + b"\n\n" + bytes(range(72))


@pytest.mark.parametrize(
    ("lines", "column", "row", "through"),
    [
        (("sizes: 6 4 1", "spacings: 0.08 0.09 2"), 0.08, 0.09, 2),
        (("sizes: 6 4", "spacings: 0.08 0.09"), 0.08, 0.09, 1),
        (("sizes: 6 4 1", "spacings: 0.08 0.09 nan"), 0.08, 0.09, 1),
        (
            ("sizes: 3 6 4", "kinds: RGB-color domain domain", "spacings: NaN 0.2 0.1"),
            *(0.2, 0.1, 1),
        ),
        (("sizes: 6 4 1", "spacings: nan nan nan"), 1, 1, 1),
        (
            ("sizes: 6 4", "space directions: (3,0,0) (0,2,0)", "spacings: 7 7"),
            *(3, 2, 1),
        ),
    ],
)
def test_nrrd_may_have_spacings_in_place_of_directions(lines, column, row, through):
    geometry = read(nrrd_with(*lines)).geometry
    wanted = Geometry((column, 0, 0), (0, row, 0), (0, 0, through))
    assert geometry == wanted
    label = read(write_nrrd(np.ones((4, 6), bool), geometry, "uint8"))
    assert label.geometry == wanted
    spacing = None if column == row == 1 else (row, column)
    assert geometry.spacing == spacing


def test_a_spacing_of_1_is_not_known():
    assert Geometry().spacing is None
    assert Geometry(column=(0, 50, 0)).spacing is None


def test_a_label_is_written_and_read_again():
    geometry = read(VOLUMES["gray.nrrd"]).geometry
    for dtype in ("uint8", "uint16"):
        content = write_nrrd(PIXELS > 128, geometry, dtype)
        again = read(content)
        np.testing.assert_array_equal(again.pixels, PIXELS > 128)
        assert again.geometry == geometry
    head, _, data = content.partition(b"\n\n")
    assert b"sizes: 32 24 1\nspace directions: (0.2,0.0,0.0) (0.0,0.1,0.0)" in head
    assert data == (PIXELS > 128).astype("<u2").tobytes()


def test_several_slices_and_large_pictures_are_refused():
    with pytest.raises(InputError, match="2 slices"):
        read(VOLUMES["two.nii.gz"])
    with pytest.raises(InputError, match="megapixels"):
        read(VOLUMES["gray.nii.gz"], 700)


def test_a_bomb_is_not_inflated():
    packed = zlib.compressobj(wbits=31)
    head = bytearray(zlib.decompressobj(wbits=31).decompress(VOLUMES["gray.nii.gz"]))
    content = packed.compress(bytes(head[:352]) + bytes(50_000_000)) + packed.flush()
    assert not read(content).pixels.any()  # 768 of the 50 million bytes are taken


def broken():
    head = zlib.decompressobj(wbits=31).decompress(VOLUMES["gray.nii.gz"])[:352]
    nrrd = VOLUMES["gray.nrrd"]
    yield head
    yield head[:40] + struct.pack("<8h", 9, *[32] * 7) + head[56:] + bytes(5000)
    yield head[:40] + struct.pack("<8h", 3, -4, 5, 1, 1, 1, 1, 1) + head[56:]
    yield head[:70] + struct.pack("<h", 32) + head[72:] + bytes(5000)
    yield head[:108] + struct.pack("<f", float("nan")) + head[112:] + bytes(5000)
    yield head[:252] + struct.pack("<2h", 1, 0) + head[256:] + bytes(5000)
    yield nrrd[:-300]
    yield nrrd.replace(b"\n\n", b"\n#\n")
    yield nrrd.replace(b"unsigned char", b"block")
    yield nrrd.replace(b"gzip", b"text")
    yield nrrd.replace(b"sizes: 32 24 1", b"sizes: 99999999999 24 1")
    yield nrrd.replace(b"sizes: 32 24 1", b"sizes: 32")
    yield nrrd.replace(b"space origin: (3", b"space origin: (x")
    yield nrrd.replace(b"left-posterior", b"scanner")
    yield nrrd_with("sizes: 6 4 1", "spacings: wide 0.1 1")
    yield nrrd.replace(b"\n\n", b"\ndata file: /etc/passwd\n\n", 1)


@pytest.mark.parametrize("content", list(broken()))
def test_broken_files_are_refused_in_words(content):
    with pytest.raises(InputError):
        read(content)


def test_noise_is_never_more_than_refused():
    generator = np.random.default_rng(0)
    for name, content in VOLUMES.items():
        plain = content
        if name.endswith("gz"):
            plain = zlib.decompressobj(wbits=31).decompress(content)
        for _ in range(60):
            places = generator.integers(0, min(len(plain), 400), 4)
            changed = bytearray(plain)
            for place in places:
                changed[place] = generator.integers(0, 256)
            changed = bytes(changed)
            if is_nrrd(changed) or is_nifti(changed):
                try:
                    read(changed)
                except InputError:
                    continue
