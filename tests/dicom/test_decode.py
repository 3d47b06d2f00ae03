"""Masks of one bit a pixel, whose frames may begin inside a byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from dicom_files import as_bytes, make_dataset
from numpy.typing import NDArray
from pydicom import uid
from test_seg import ALGORITHM

from sonoseg.core.mask import read_mask
from sonoseg.data.check import check_folder
from sonoseg.data.dicom import scan_dicom
from sonoseg.dicom.lesions import Outline
from sonoseg.dicom.mask_files import write_masks
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.seg import make_seg
from sonoseg.dicom.seg_to_mask import read_seg, union_by_frame
from sonoseg.errors import InputError

ROWS = 17
"""Odd: with 16 to 23 columns, every remainder of the number of pixels divided by 8 occurs."""


def _write_pair(folder: Path, columns: int, segments: int) -> tuple[Path, Path]:
    """An image of 17 rows, and its SEG of random masks."""
    folder.mkdir()
    image, path = folder / "IM1.dcm", folder / "IM1_seg.dcm"
    image.write_bytes(as_bytes(make_dataset(np.zeros((ROWS, columns), np.uint8))))
    file = read_dicom(image)
    masks = np.random.default_rng(columns).random((segments, ROWS, columns)) < 0.1
    outlines = []
    for number, mask in enumerate(masks, start=1):
        outlines.append(Outline(1, number, mask, (0, 0), mask.shape, None))
    make_seg(file, outlines, ALGORITHM).save_as(path)
    return image, path


def _by_pydicom(path: Path) -> NDArray[np.bool_]:
    """The union (H, W) of all frames, which pydicom reads right if it reads them at once."""
    pixels = pydicom.dcmread(path).pixel_array
    return np.atleast_3d(pixels.T).any(axis=2).T


@pytest.mark.parametrize(
    "syntax", [uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian]
)
def test_each_frame_of_an_uncompressed_ybr_422_loop_is_found(syntax: uid.UID) -> None:
    gray = np.random.default_rng(0).integers(0, 256, (5, 17, 20), np.uint8)
    # Two luminances, then the two chrominances of both pixels (PS3.3 C.7.6.3.1.2).
    pairs = np.full((5, 17, 10, 4), 128, np.uint8)
    pairs[..., 0], pairs[..., 1] = gray[..., 0::2], gray[..., 1::2]
    dataset = make_dataset(gray)
    expected = [view.image.pixels for view in read_dicom(as_bytes(dataset)).views()]
    dataset.PhotometricInterpretation = "YBR_FULL_422"
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.PixelData = pairs.tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = read_dicom(as_bytes(dataset))
    found = [view.image.pixels for view in file.views()]
    np.testing.assert_array_equal(found, expected)
    for number in (4, 2, 5):
        (view,) = file.views([number])
        np.testing.assert_array_equal(view.image.pixels, expected[number - 1])


@pytest.mark.parametrize("columns", range(16, 24))
@pytest.mark.parametrize("segments", [1, 2, 3, 4])
def test_masks_of_any_size_come_back(
    tmp_path: Path, columns: int, segments: int
) -> None:
    image, path = _write_pair(tmp_path / "set", columns, segments)
    expected = _by_pydicom(path)
    assert expected.shape == (ROWS, columns) and expected.any()
    write_masks(path, tmp_path / "out", image)
    written = read_mask(tmp_path / "out" / "IM1_mask.png").pixels
    np.testing.assert_array_equal(written, expected)
    (case,) = scan_dicom(tmp_path / "set").cases
    np.testing.assert_array_equal(case.read_mask(), expected)


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian]
)
def test_other_syntaxes_have_the_same_masks(tmp_path: Path, syntax: uid.UID) -> None:
    _, path = _write_pair(tmp_path / "set", 19, 3)
    expected = _by_pydicom(path)
    seg = pydicom.dcmread(path)
    seg.file_meta.TransferSyntaxUID = syntax
    (mask,) = union_by_frame(read_seg(as_bytes(seg))).values()
    np.testing.assert_array_equal(mask, expected)


def test_big_endian_masks_are_refused(tmp_path: Path) -> None:
    _, path = _write_pair(tmp_path / "set", 19, 3)
    seg = pydicom.dcmread(path)
    seg.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    order = {"implicit_vr": False, "little_endian": False, "force_encoding": True}
    pydicom.dcmwrite(path, seg, **order)
    with pytest.raises(InputError, match=r"IM1_seg\.dcm: .* in big-endian order"):
        read_seg(path)


def test_what_is_cut_short_is_refused_by_its_own_name(tmp_path: Path) -> None:
    _, path = _write_pair(tmp_path / "set", 19, 3)
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"IM1_seg\.dcm: is damaged DICOM or cut"):
        write_masks(path, tmp_path / "out")
    (case,) = scan_dicom(tmp_path / "set").cases
    with pytest.raises(InputError, match=r"IM1_seg\.dcm: is damaged DICOM or cut"):
        case.read()
    (finding,) = check_folder(tmp_path / "set").findings
    assert (finding.kind, finding.files) == ("unreadable", ("IM1_seg.dcm",))
