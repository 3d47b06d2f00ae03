"""The overlay picture: everything on it, legible, at any size."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sonoseg.core.image import Image as ImageRecord
from sonoseg.core.image import read_image
from sonoseg.core.mask import read_mask
from sonoseg.core.measure import Spacing
from sonoseg.describe.malignancy import Malignancy
from sonoseg.errors import InputError
from sonoseg.reader.labels import label_text
from sonoseg.reader.overlay import (
    CALIPER,
    MAX_SIDE,
    MIN_WIDTH,
    PREDICTION,
    TRUTH,
    WARNING,
    draw_frame,
    draw_overlay,
    write_picture,
)
from sonoseg.reader.result import SegmentationResult


def _result(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    spacing: Spacing | None = None,
    name: str = "model",
) -> SegmentationResult:
    return SegmentationResult(
        ImageRecord(image, spacing), mask.astype(np.float32), mask, name
    )


def _square(shape: tuple[int, int]) -> SegmentationResult:
    mask = np.zeros(shape, bool)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = True
    return _result(np.full(shape, 90, np.uint8), mask)


def _has(picture: NDArray[np.uint8], colour: tuple[int, int, int]) -> bool:
    return bool((np.abs(picture.astype(int) - colour).max(2) < 12).any())


def test_outline_and_calipers_are_drawn_and_truth_only_when_it_is_given() -> None:
    result = _square((400, 640))
    alone, with_truth = (
        draw_overlay(result),
        draw_overlay(result, np.roll(result.mask, 30, 1)),
    )
    assert alone.dtype == np.uint8
    assert _has(alone, PREDICTION)
    assert _has(alone, CALIPER)
    assert not _has(alone, TRUTH)
    assert _has(with_truth[:400], TRUTH)
    np.testing.assert_array_equal(result.overlay(), alone)


def test_no_lesion_leaves_the_image_unmarked() -> None:
    image = np.full((400, 640), 90, np.uint8)
    picture = draw_overlay(_result(image, np.zeros((400, 640), bool)))
    np.testing.assert_array_equal(
        picture[:400, :640], np.repeat(image[..., None], 3, 2)
    )


@pytest.mark.parametrize(
    ("shape", "width"),
    [
        ((100, 160), MIN_WIDTH),
        ((480, 640), 640),
        ((700, 1000), 1000),
        ((3000, 6000), MAX_SIDE),
        ((2000, 100), MIN_WIDTH),
    ],
)
def test_small_images_are_enlarged_and_large_ones_made_smaller(
    shape: tuple[int, int], width: int
) -> None:
    picture = draw_overlay(_square(shape))
    assert picture.shape[1] == width
    assert max(picture.shape) < MAX_SIDE + 200


@pytest.mark.parametrize("shape", [(16, 16), (16, 1600), (1600, 16), (17, 900)])
def test_tiny_and_narrow_images_have_an_overlay(shape: tuple[int, int]) -> None:
    assert draw_overlay(_square(shape)).ndim == 3


@pytest.mark.parametrize(
    "shape", [(16, 16), (17, 901), (601, 17), (60, 80), (600, 800), (2100, 2300)]
)
def test_a_frame_keeps_its_size_and_has_outline_and_notice(
    shape: tuple[int, int],
) -> None:
    result = _square(shape)
    picture = draw_frame(result)
    assert picture.shape == (*shape, 3)
    foot = draw_frame(_result(result.image, np.zeros(shape, bool)))
    if min(shape) >= 60:
        assert (foot != 90).any()
        assert (foot[: shape[0] // 2] == 90).all()
        assert _has(picture, PREDICTION)
        assert _has(picture, CALIPER)
        assert _has(foot[shape[0] // 2 :], (235, 235, 235)) == (shape[1] >= 600)


@pytest.mark.parametrize("shape", [(16, 16), (60, 80), (480, 640)])
def test_a_result_in_doubt_says_so_in_its_pictures(shape: tuple[int, int]) -> None:
    sure = _square(shape)
    doubtful = dataclasses.replace(sure, unfamiliarity=1.3)
    assert not _has(draw_overlay(sure), WARNING)
    assert _has(draw_overlay(doubtful), WARNING)
    assert draw_frame(doubtful).shape == draw_frame(sure).shape
    if min(shape) > 400:
        assert _has(draw_frame(doubtful), WARNING) and not _has(
            draw_frame(sure), WARNING
        )


def test_malignancy_is_in_the_legend_only_when_it_is_asked_for() -> None:
    silent = _square((400, 640))

    def judge(part: NDArray[np.bool_], outline: float) -> Malignancy:
        return Malignancy(0.31, 0.2, 0.44)

    judged = dataclasses.replace(silent, judge=judge)  # type: ignore[arg-type]
    plain, asked = judged.overlay(), judged.overlay(malignancy=True)
    np.testing.assert_array_equal(plain, silent.overlay())
    np.testing.assert_array_equal(silent.overlay(malignancy=True), plain)
    assert len(asked) > len(plain)
    np.testing.assert_array_equal(asked[:400], plain[:400])
    withheld = dataclasses.replace(
        silent,
        judge=lambda *_: Malignancy(0.31, 0.2, 0.44, "unlike"),  # type: ignore[arg-type]
    )
    assert not np.array_equal(withheld.overlay(malignancy=True), asked)


def test_the_unit_changes_the_label() -> None:
    result = _square((400, 640))
    in_mm = _result(result.image, result.mask, spacing=(0.1, 0.1))
    assert (draw_overlay(result)[:400] != draw_overlay(in_mm)[:400]).any()


def test_pixels_that_are_not_square_are_drawn_square_and_labelled_in_mm() -> None:
    mask = np.zeros((200, 640), bool)
    mask[50:100, 200:300] = (
        True  # 50 rows of 0.4 mm and 100 columns of 0.2 mm: a square of 20 mm
    )
    result = _result(np.full(mask.shape, 90, np.uint8), mask, spacing=(0.4, 0.2))
    picture = draw_overlay(result)
    assert 400 < picture.shape[0] < 500
    assert picture.shape[1] == 640
    colours = picture[:400].astype(int)
    drawn = np.argwhere(colours[..., 2] - colours[..., 0] > 60)
    height, width = np.ptp(drawn, axis=0)
    assert height == pytest.approx(100, abs=4)
    assert width == pytest.approx(100, abs=4)
    assert label_text(result.lesions[0], result.unit) == "28.3 x 28.3 mm"
    assert draw_frame(result).shape == (200, 640, 3)


def test_a_long_model_name_is_not_cut_off() -> None:
    result = _square((400, 640))
    picture = draw_overlay(_result(result.image, result.mask, name="m" * 40))
    assert (picture[400:, -3:] == picture[-1, -1]).all()


def test_of_many_lesions_every_one_is_outlined() -> None:
    blocks = (
        np.outer(np.arange(12) % 2, np.arange(16) % 2).repeat(40, 0).repeat(40, 1) > 0
    )
    result = _result(np.full((480, 640), 90, np.uint8), blocks)
    assert len(result.lesions) == 48
    picture = draw_overlay(result)
    for lesion in result.lesions:
        x, y, width, height = lesion.box
        window = picture[y - 3 : y + height + 3, x - 3 : x + width + 3].astype(int)
        blue = window[..., 2] - window[..., 0] > 60
        assert blue[:, :6].any(1).mean() > 0.5, "the left side is not outlined"


def test_overlays_of_real_images_keep_the_tissue(real_data: Path) -> None:
    folder = real_data / "busi" / "malignant"
    image, mask = (
        read_image(folder / "malignant (1).png").pixels,
        read_mask(folder / "malignant (1)_mask.png").pixels,
    )
    picture = draw_overlay(_result(image, mask), mask)
    height = round(image.shape[0] * MIN_WIDTH / image.shape[1])
    gray = np.asarray(
        Image.fromarray(image).resize((MIN_WIDTH, height), Image.Resampling.BICUBIC)
    )
    untouched = (picture[:height] == gray[..., None]).all(2)
    assert 0.9 < untouched.mean() < 1


def test_a_picture_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    picture = draw_overlay(_square((100, 160)))
    write_picture(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), picture)
    with pytest.raises(InputError):
        write_picture(tmp_path / "gone" / "a.png", picture)
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
