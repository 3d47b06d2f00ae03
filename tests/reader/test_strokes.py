"""Lines are drawn where they belong, smooth, and only there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.draw import disk

from sonoseg.reader.strokes import draw_caliper, draw_outline

RED = (255, 0, 0)


def _canvas(height: int = 200, width: int = 300) -> NDArray[np.uint8]:
    return np.full((height, width, 3), 128, np.uint8)


def _inked(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return (picture != 128).any(2)


def test_the_outline_of_a_disk_is_a_thin_circle() -> None:
    mask = np.zeros((200, 300), bool)
    mask[disk((100, 150), 60)] = True
    picture = _canvas()
    draw_outline(picture, mask, 2, RED)
    y, x = np.nonzero(_inked(picture))
    radius = np.hypot(y - 100, x - 150)
    assert np.abs(radius - 60).max() < 4
    red = (picture[..., 0] > 200) & (picture[..., 1] < 90)
    angle = np.arctan2(*(np.nonzero(red) - np.array([[100], [150]])))
    assert np.diff(np.sort(angle)).max() < 0.05, "the circle has a gap"
    assert len(np.unique(picture[..., 0])) > 20, "the line is not anti-aliased"


def test_the_outline_follows_the_mask_when_the_picture_is_larger() -> None:
    mask = np.zeros((100, 150), bool)
    mask[disk((50, 75), 30)] = True
    picture = _canvas()
    draw_outline(picture, mask, 2, RED)
    y, x = np.nonzero(_inked(picture))
    assert np.abs(np.hypot(y - 100, x - 151) - 60).max() < 5


@pytest.mark.parametrize("filled", [False, True])
def test_a_mask_without_border_leaves_the_picture_as_it_is(filled: bool) -> None:
    picture = _canvas()
    draw_outline(picture, np.full((200, 300), filled), 2, RED)
    assert not _inked(picture).any()


def test_a_caliper_has_a_cross_at_each_end_and_dots_between() -> None:
    picture = _canvas()
    draw_caliper(picture, np.array([50.0, 100]), np.array([250.0, 100]), 2, RED)
    red = picture[..., 0] > 150
    columns = np.flatnonzero(red.any(0))
    assert (columns.min(), columns.max()) == pytest.approx((43, 256), abs=2)
    assert red[:, 49:51].sum() > 20
    assert red[:, 249:251].sum() > 20
    middle = red[99:101, 80:220].any(0)
    assert 10 < (np.diff(middle.astype(int)) == 1).sum() < 30, "not dotted"
    assert not red[104:, 70:230].any()


@pytest.mark.parametrize(
    "ends",
    [((0, 0), (300, 200)), ((-5, 100), (305, 100)), ((9, 9), (9, 9)), ((1, 1), (2, 1))],
)
def test_calipers_at_and_over_the_edge_are_cut(
    ends: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    picture = _canvas()
    draw_caliper(picture, np.array(ends[0]), np.array(ends[1]), 2, RED)
    assert _inked(picture).any()
