"""A case reads its image and the union of its masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.core.image import read_image
from sonoseg.data.case import Case
from sonoseg.errors import InputError


def _save(path: Path, pixels: np.ndarray) -> Path:
    Image.fromarray(pixels).save(path)
    return path


def test_mask_is_the_union_of_all_mask_files(tmp_path: Path) -> None:
    image = _save(tmp_path / "a.png", np.full((20, 30), 7, np.uint8))
    left, right = np.zeros((2, 20, 30), np.uint8)
    left[:5, :5] = 255
    right[10:, 20:] = 1
    masks = (_save(tmp_path / "l.png", left), _save(tmp_path / "r.png", right))
    case = Case("a.png", image, masks, "benign", "a")
    pixels, mask = case.read()
    assert (pixels == 7).all()
    np.testing.assert_array_equal(mask, (left | right) > 0)
    np.testing.assert_array_equal(case.read_mask(), mask)


def test_case_without_masks_has_an_empty_mask_of_its_images_size(
    tmp_path: Path,
) -> None:
    case = Case(
        "a.png",
        _save(tmp_path / "a.png", np.ones((20, 30), np.uint8)),
        (),
        "normal",
        "a",
    )
    assert case.read_mask().shape == (20, 30)
    assert case.read_mask().dtype == np.bool_
    assert not case.read_mask().any()


def test_mask_of_another_size_is_refused_with_both_sizes(tmp_path: Path) -> None:
    image = _save(tmp_path / "a.png", np.ones((20, 30), np.uint8))
    mask = _save(tmp_path / "m.png", np.zeros((30, 20), np.uint8))
    with pytest.raises(
        InputError, match=r"m\.png: the mask is 20 × 30 pixels, its image is 30 × 20"
    ):
        Case("a.png", image, (mask,), "benign", "a").read_mask()


def test_a_doubt_about_the_pixels_is_logged_and_names_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "scan.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (64, 96), np.uint8)
    Image.fromarray(noise).save(path, quality=90)
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[: half - 80] + content[half:])  # a stretch is missing
    (doubt,) = read_image(path).doubts
    assert caplog.messages == []
    Case("scan.jpg", path, (), "normal", "a").read_image()
    assert caplog.messages == [f"{path}: {doubt}"]
