"""`sonoseg dicom seg-to-mask`: what it does not overwrite, and which image it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset
from test_seg import ALGORITHM, _drawn

from sonoseg.dicom.mask_files import write_masks
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.seg import make_seg
from sonoseg.dicom.seg_to_mask import read_seg
from sonoseg.errors import InputError


def _image(path: Path, shape: tuple[int, int] = (64, 80), **tags: Any) -> Path:
    path.write_bytes(as_bytes(make_dataset(np.zeros(shape, np.uint8), **tags)))
    return path


@pytest.fixture
def seg(tmp_path: Path) -> Path:
    """The segmentation of image.dcm beside it."""
    file = read_dicom(_image(tmp_path / "image.dcm"))
    make_seg(file, _drawn(file, [1]), ALGORITHM).save_as(tmp_path / "seg.dcm")
    return tmp_path / "seg.dcm"


def test_only_its_own_masks_are_replaced(seg: Path, tmp_path: Path) -> None:
    mask = tmp_path / "out" / "image_mask.png"
    for _ in range(2):
        write_masks(seg, mask.parent, tmp_path / "image.dcm")
    for other in (b"mine", b""):
        mask.write_bytes(other)
        with pytest.raises(InputError, match=r"is there already.*another folder"):
            write_masks(seg, mask.parent, tmp_path / "image.dcm")
        assert mask.read_bytes() == other
    mask.unlink()
    mask.mkdir()
    with pytest.raises(InputError, match="is there already"):
        write_masks(seg, mask.parent, tmp_path / "image.dcm")


def test_another_image_is_refused(seg: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(InputError, match="no such file"):
        write_masks(seg, out, tmp_path / "absent.dcm")
    other = _image(tmp_path / "other.dcm", SOPInstanceUID="1.2.3")
    with pytest.raises(InputError, match=r"another image than .*other\.dcm"):
        write_masks(seg, out, other)
    small = _image(tmp_path / "small.dcm", (64, 64))
    with pytest.raises(InputError, match=r"has 80 × 64 pixels, but .* 64 × 64"):
        write_masks(seg, out, small)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="is not a DICOM file"):
        write_masks(seg, out, tmp_path / "a.png")
    assert not out.exists()


@pytest.mark.parametrize("rows", [63, 65, 300])
def test_pixel_data_of_another_length_are_refused(seg: Path, rows: int) -> None:
    content = seg.read_bytes()
    old = b"\x28\x00\x10\x00US\x02\x00" + (64).to_bytes(2, "little")
    assert content.count(old) == 1
    seg.write_bytes(content.replace(old, old[:-2] + rows.to_bytes(2, "little")))
    with pytest.raises(InputError, match=r"longer or shorter|do not fit"):
        read_seg(seg)
