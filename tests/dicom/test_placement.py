"""Segmentations that are mirrored, turned or moved against their image; and those of several images."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicom_files import as_bytes, make_dataset
from pydicom.dataset import Dataset
from test_seg import ALGORITHM, _drawn

from sonoseg.core.mask import read_mask
from sonoseg.data.dicom import scan_dicom
from sonoseg.dicom.mask_files import write_masks
from sonoseg.dicom.read import read_dicom
from sonoseg.dicom.seg import make_seg
from sonoseg.errors import InputError

TILTED = [0.6, 0.8, 0, 0, 0, -1]
ORIGIN = [5.0, -3, 7]
SPACING = [0.2, 0.1]
ROWS, COLUMNS = 64, 80


def _image(number: int = 1, frames: int = 0) -> Dataset:
    pixels = np.zeros((frames, ROWS, COLUMNS) if frames else (ROWS, COLUMNS), np.uint8)
    return make_dataset(
        pixels,
        SOPInstanceUID=f"1.2.{number}",
        FrameOfReferenceUID="1.2.3",
        ImageOrientationPatient=TILTED,
        ImagePositionPatient=ORIGIN,
        PixelSpacing=SPACING,
    )


def _seg(folder: Path, image: Dataset) -> Dataset:
    """A segmentation in the place of the image; writes the image as image.dcm."""
    (folder / "image.dcm").write_bytes(as_bytes(image))
    file = read_dicom(folder / "image.dcm")
    seg = make_seg(file, _drawn(file, list(range(1, file.frames + 1))), ALGORITHM)
    seg.FrameOfReferenceUID = "1.2.3"
    shared = seg.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = TILTED
    shared.PixelMeasuresSequence[0].PixelSpacing = SPACING
    _move(seg, ORIGIN)
    return seg


def _move(seg: Dataset, origin: Any) -> None:
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient = list(map(float, origin))


def _turn(seg: Dataset, orientation: Any) -> None:
    shared = seg.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = list(orientation)


def _is_taken(folder: Path, seg: Dataset) -> bool:
    """Whether the masks are taken for those of the image; by both ways, or by none."""
    seg.save_as(folder / "seg.dcm")
    scan = scan_dicom(folder)
    words = "lie otherwise in space"
    try:
        write_masks(folder / "seg.dcm", folder / "out", folder / "image.dcm")
    except InputError as error:
        assert words in str(error) and not (folder / "out").exists()
        assert not any(case.masks for case in scan.cases)
        assert any(words in finding.message for finding in scan.findings)
        return False
    assert scan.cases and scan.findings == []
    return True


RIGHT = np.array(TILTED[:3]) * SPACING[1]
DOWN = np.array(TILTED[3:]) * SPACING[0]
NORMAL = np.cross(TILTED[:3], TILTED[3:])


@pytest.mark.parametrize("frames", [0, 3])
@pytest.mark.parametrize(
    ("moved", "is_same"),
    [
        (0 * RIGHT, True),
        (0.4 * RIGHT - 0.4 * DOWN, True),
        (5 * NORMAL, True),
        (0.6 * RIGHT, False),
        (-20 * RIGHT, False),
        (0.6 * DOWN, False),
    ],
)
def test_what_is_moved_over_half_a_pixel_is_refused(
    tmp_path: Path, moved: Any, is_same: bool, frames: int
) -> None:
    """In the plane of the image: frames of a loop may lie one behind the other."""
    seg = _seg(tmp_path, _image(frames=frames))
    _move(seg, ORIGIN + moved)
    assert _is_taken(tmp_path, seg) == is_same


def test_what_is_mirrored_or_turned_is_refused(tmp_path: Path) -> None:
    seg = _seg(tmp_path, _image())
    right, down = np.array(TILTED[:3]), np.array(TILTED[3:])
    # The same pixels in reverse order, as placed in space: by rows, by columns, by both.
    for mirror_x, mirror_y in ((False, True), (True, False), (True, True)):
        axes = [-right if mirror_x else right, -down if mirror_y else down]
        _turn(seg, np.concatenate(axes))
        last = RIGHT * (COLUMNS - 1) * mirror_x + DOWN * (ROWS - 1) * mirror_y
        for origin in (ORIGIN + last, ORIGIN):
            _move(seg, origin)
            assert not _is_taken(tmp_path, seg)
    _move(seg, ORIGIN)
    _turn(seg, [*down, *right])
    assert not _is_taken(tmp_path, seg)
    _turn(seg, [*right, *NORMAL])
    assert not _is_taken(tmp_path, seg)
    # Rounded as text.
    _turn(seg, np.array(TILTED) + 1e-5)
    assert _is_taken(tmp_path, seg)


@pytest.mark.parametrize(
    "missing",
    [
        "FrameOfReferenceUID",
        "ImageOrientationPatient",
        "ImagePositionPatient",
        "PixelSpacing",
    ],
)
def test_places_without_a_common_frame_of_reference_say_nothing(
    tmp_path: Path, missing: str
) -> None:
    """As our own: they have a place only because viewers want one."""
    image = _image()
    delattr(image, missing)
    seg = _seg(tmp_path, image)
    _move(seg, [0, 0, 0])
    # Without a size of the image's pixels, that of the segmentation serves.
    assert _is_taken(tmp_path, seg) == (missing != "PixelSpacing")


def test_ours_of_an_image_with_a_place_is_taken(tmp_path: Path) -> None:
    seg = _seg(tmp_path, _image())
    del seg.FrameOfReferenceUID
    _turn(seg, [1, 0, 0, 0, 1, 0])
    _move(seg, [0, 0, 0])
    assert _is_taken(tmp_path, seg)
    # A place may be damaged.
    seg.FrameOfReferenceUID = "1.2.3"
    _move(seg, [float("nan"), 0, 0])
    assert not _is_taken_at_all(tmp_path, seg)


def _is_taken_at_all(folder: Path, seg: Dataset) -> bool:
    try:
        seg.save_as(folder / "seg.dcm")
        write_masks(folder / "seg.dcm", folder / "other", folder / "image.dcm")
    except (InputError, ValueError):
        return False
    return True


def test_one_image_of_several_is_named(tmp_path: Path) -> None:
    seg = _seg(tmp_path, _image())
    group = seg.PerFrameFunctionalGroupsSequence[0]
    masks, groups = [], []
    for number in (1, 2):
        (tmp_path / f"{number}.dcm").write_bytes(as_bytes(_image(number)))
        other = copy.deepcopy(group)
        source = other.DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID = f"1.2.{number}"
        groups.append(other)
        mask = np.zeros((ROWS, COLUMNS), np.bool_)
        mask[number * 10 : number * 10 + 8, 20:30] = True
        masks.append(mask)
    seg.PerFrameFunctionalGroupsSequence = groups
    seg.NumberOfFrames = 2
    seg.PixelData = np.packbits(np.stack(masks), bitorder="little").tobytes()
    seg.save_as(tmp_path / "seg.dcm")
    with pytest.raises(InputError, match=r"belongs to 2 images; .*--image"):
        write_masks(tmp_path / "seg.dcm", tmp_path / "out")
    for number, mask in enumerate(masks, start=1):
        image = tmp_path / f"{number}.dcm"
        words = write_masks(tmp_path / "seg.dcm", tmp_path / "out", image)
        assert words.startswith("1 mask written")
        written = read_mask(tmp_path / "out" / f"{number}_mask.png").pixels
        np.testing.assert_array_equal(written, mask)
    (tmp_path / "3.dcm").write_bytes(as_bytes(_image(3)))
    with pytest.raises(InputError, match="another image"):
        write_masks(tmp_path / "seg.dcm", tmp_path / "out", tmp_path / "3.dcm")
