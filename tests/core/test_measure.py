"""Connected parts and diameters, against scikit-image, brute force, and shapes of known size."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from skimage.draw import ellipse, polygon
from skimage.measure import label, regionprops
from skimage.transform import resize

from sonoseg.core.mask import read_mask
from sonoseg.core.measure import Lesion, connected_runs, drop_small, find_lesions

Mask = NDArray[np.bool_]


def _labels(mask: Mask) -> NDArray[np.int64]:
    runs = connected_runs(mask)
    image = np.zeros(mask.shape, np.int64)
    image[mask] = np.repeat(runs.label + 1, runs.stop - runs.start)
    return image


def _lesions(mask: Mask) -> tuple[Lesion, ...]:
    return find_lesions(mask, mask.astype(np.float32))


def _real_masks(folder: Path) -> list[Mask]:
    return [
        read_mask(path).pixels
        for path in sorted((folder / "busi_original_sample").rglob("*_mask*.png"))
    ]


@pytest.mark.parametrize("share", [0, 0.05, 0.2, 0.35, 0.41, 0.5, 0.7, 0.95, 1])
@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (47, 61), (200, 150)])
def test_random_masks_are_labelled_as_by_scikit_image(
    share: float, shape: tuple[int, int]
) -> None:
    mask = np.random.default_rng(0).random(shape) < share
    np.testing.assert_array_equal(_labels(mask), label(mask, connectivity=2))


@settings(max_examples=200, deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)))
def test_any_small_mask_is_labelled_as_by_scikit_image(mask: Mask) -> None:
    np.testing.assert_array_equal(_labels(mask), label(mask, connectivity=2))


def test_a_spiral_and_a_comb_are_one_part_each() -> None:
    comb = np.zeros((60, 81), bool)
    comb[:, ::2] = True
    comb[-1] = True
    spiral = np.zeros((41, 41), bool)
    low, high, turn = 0, 40, 0
    while low < high:
        spiral[low, max(low - 2, 0) : high + 1] = spiral[low : high + 1, high] = True
        spiral[high, low : high + 1] = spiral[low + 2 : high + 1, low] = True
        low, high, turn = low + 2, high - 2, turn + 1
    for mask in (comb, spiral):
        assert connected_runs(mask).label.max() == label(mask, connectivity=2).max() - 1
    assert connected_runs(comb).label.max() == 0


def test_real_masks_are_measured_as_by_scikit_image(real_data: Path) -> None:
    masks = _real_masks(real_data)
    assert len(masks) > 10
    for mask in masks:
        labels = label(mask, connectivity=2)
        np.testing.assert_array_equal(_labels(mask), labels)
        expected = sorted(regionprops(labels), key=lambda region: -region.area)
        for lesion, region in zip(_lesions(mask), expected, strict=True):
            top, left, bottom, right = region.bbox
            assert lesion.area == region.area
            assert lesion.box == (left, top, right - left, bottom - top)
            np.testing.assert_allclose(
                lesion.centre[::-1], np.array(region.centroid) + 0.5
            )
            # scikit-image measures between the middles of pixel edges, we between pixel corners.
            assert abs(lesion.longest.length - region.feret_diameter_max) < math.sqrt(2)


def _corners(mask: Mask) -> NDArray[np.float64]:
    y, x = np.nonzero(mask)
    return (
        np.unique(
            np.concatenate(
                [np.stack([x + i, y + j], 1) for i in (0, 1) for j in (0, 1)]
            ),
            axis=0,
        )
        * 1.0
    )


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)))
def test_the_longest_diameter_is_the_greatest_distance_of_any_two_pixel_corners(
    mask: Mask,
) -> None:
    labels = _labels(mask)
    lesions = _lesions(mask)
    brute = sorted(
        max(
            math.dist(*pair)
            for pair in combinations(_corners(labels == part).tolist(), 2)
        )
        for part in range(1, labels.max() + 1)
    )
    assert sorted(lesion.longest.length for lesion in lesions) == pytest.approx(brute)


@settings(max_examples=150, deadline=None)
@given(hnp.arrays(bool, (8, 10)))
def test_the_diameter_across_is_perpendicular_and_the_longest_of_many(
    mask: Mask,
) -> None:
    labels = _labels(mask)
    for part in range(1, labels.max() + 1):
        (lesion,) = _lesions(labels == part)
        start, end = np.array(lesion.longest.start), np.array(lesion.longest.end)
        along = (end - start) / lesion.longest.length
        across = np.array(lesion.across.end) - np.array(lesion.across.start)
        assert abs(across @ along) < 1e-9 * (1 + lesion.longest.length)
        hull = ConvexHull(_corners(labels == part)).equations
        chords = [
            _chord(hull, start + t * (end - start), np.array([-along[1], along[0]]))
            for t in np.linspace(0.001, 0.999, 400)
        ]
        assert lesion.across.length >= max(chords) - 1e-6
        assert lesion.across.length <= max(chords) + 0.02 * lesion.longest.length
        for point in (lesion.across.start, lesion.across.end):
            assert (hull[:, :2] @ point + hull[:, 2]).max() < 1e-6


def _chord(
    hull: NDArray[np.float64],
    point: NDArray[np.float64],
    direction: NDArray[np.float64],
) -> float:
    """Length of the line through `point` inside the half planes `hull`."""
    slope, room = hull[:, :2] @ direction, -(hull[:, :2] @ point + hull[:, 2])
    with np.errstate(divide="ignore"):
        steps = room / np.where(np.abs(slope) < 1e-12, np.nan, slope)
    forward, backward = steps[slope > 1e-12], steps[slope < -1e-12]
    return float(forward.min() - backward.max())


@pytest.mark.parametrize("angle", [0, 17, 45, 90, 121])
def test_a_turned_ellipse_has_its_two_axes_as_diameters(angle: float) -> None:
    mask = np.zeros((300, 300), bool)
    mask[ellipse(150, 150, 50, 110, rotation=math.radians(angle))] = True
    (lesion,) = _lesions(mask)
    assert lesion.longest.length == pytest.approx(220, abs=2)
    assert lesion.across.length == pytest.approx(100, abs=4)
    assert lesion.area == pytest.approx(math.pi * 50 * 110, rel=0.02)
    assert lesion.centre == pytest.approx((150.5, 150.5), abs=0.5)


@pytest.mark.parametrize("angle", [0, 30, 45, 77])
def test_a_turned_rectangle_is_as_long_as_its_diagonal(angle: float) -> None:
    turn = math.radians(angle)
    corners = np.array([[-80, -30], [80, -30], [80, 30], [-80, 30]]) @ [
        [math.cos(turn), math.sin(turn)],
        [-math.sin(turn), math.cos(turn)],
    ]
    mask = np.zeros((220, 220), bool)
    mask[polygon(*(corners + 110).T[::-1])] = True
    (lesion,) = _lesions(mask)
    assert lesion.longest.length == pytest.approx(math.hypot(160, 60), abs=2)
    # Through a corner, at right angles to the diagonal: short side over the cosine of the diagonal's tilt.
    assert lesion.across.length == pytest.approx(
        60 / math.cos(math.atan2(60, 160)), abs=2
    )


def test_a_single_pixel_is_measured_from_corner_to_corner() -> None:
    mask = np.zeros((5, 7), bool)
    mask[2, 4] = True
    (lesion,) = _lesions(mask)
    assert (lesion.area, lesion.box, lesion.centre) == (1, (4, 2, 1, 1), (4.5, 2.5))
    assert lesion.longest.length == pytest.approx(math.sqrt(2))
    assert lesion.across.length == pytest.approx(math.sqrt(2))


def test_parts_come_largest_first_and_small_ones_are_dropped() -> None:
    mask = np.zeros((40, 40), bool)
    mask[1:3, 1:3] = mask[10:20, 10:20] = mask[30:35, 30:36] = True
    clean = drop_small(mask, 5)
    assert [lesion.area for lesion in _lesions(mask)] == [100, 30, 4]
    assert [lesion.area for lesion in _lesions(clean)] == [100, 30]
    expected = mask.copy()
    expected[1:3, 1:3] = False
    np.testing.assert_array_equal(clean, expected)
    np.testing.assert_array_equal(drop_small(mask, 4), mask)


def test_the_probability_of_a_lesion_is_the_mean_over_its_own_pixels() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:6, 2:6] = mask[10:13, 10:19] = True
    probability = np.random.default_rng(0).random((20, 20), dtype=np.float32)
    lesions = find_lesions(mask, probability)
    assert lesions[0].probability == pytest.approx(probability[10:13, 10:19].mean())
    assert lesions[1].probability == pytest.approx(probability[2:6, 2:6].mean())


def test_an_empty_mask_has_no_lesion() -> None:
    mask = np.zeros((30, 40), bool)
    assert find_lesions(mask, np.zeros((30, 40), np.float32)) == ()
    assert not drop_small(mask, 5).any()


def test_lengths_and_areas_are_scaled_by_the_spacing_and_places_are_not() -> None:
    mask = np.zeros((50, 50), bool)
    mask[10:14, 20:23] = True
    (lesion,), (in_mm,) = (
        _lesions(mask),
        find_lesions(mask, mask.astype(np.float32), spacing=(0.2, 0.2)),
    )
    pixels, millimetres = lesion.to_dict(), in_mm.to_dict()
    assert (pixels["area"], pixels["longest_diameter"]) == (12, 5)
    assert (millimetres["area"], millimetres["longest_diameter"]) == (
        pytest.approx(0.48),
        pytest.approx(1.0),
    )
    assert millimetres["perpendicular_diameter"] == pytest.approx(
        0.2 * pixels["perpendicular_diameter"], abs=1e-4
    )
    assert (
        pixels["box"]
        == millimetres["box"]
        == {"x": 20, "y": 10, "width": 3, "height": 4}
    )
    assert pixels["centre"] == millimetres["centre"] == [21.5, 12]


def test_a_part_of_an_image_is_measured_in_the_image() -> None:
    random = np.random.default_rng(3)
    mask = np.zeros((60, 80), bool)
    mask[20:50, 30:70] = random.random((30, 40)) < 0.6
    probability = random.random(mask.shape, np.float32)
    part = np.s_[18:52, 25:75]
    np.testing.assert_array_equal(drop_small(mask[part], 5), drop_small(mask, 5)[part])
    assert find_lesions(mask[part], probability[part], (25, 18)) == find_lesions(
        mask, probability
    )
    assert find_lesions(np.zeros((0, 0), bool), np.zeros((0, 0), np.float32)) == ()


def _stretched(mask: Mask, spacing: tuple[float, float], step: float) -> Mask:
    """The mask at square pixels of `step` mm, by scikit-image."""
    shape = [
        round(side * size / step)
        for side, size in zip(mask.shape, spacing, strict=True)
    ]
    return resize(mask, shape, order=0, anti_aliasing=False)


@pytest.mark.parametrize("spacing", [(0.2, 0.1), (0.05, 0.1), (0.3, 0.08)])
def test_real_masks_are_measured_as_after_resampling_to_square_pixels(
    real_data: Path, spacing: tuple[float, float]
) -> None:
    step = min(spacing)
    for mask in _real_masks(real_data)[:6]:
        (largest, *_) = find_lesions(mask, mask.astype(np.float32), spacing=spacing)
        labels = label(_stretched(mask, spacing, step), connectivity=2)
        region = max(regionprops(labels, spacing=step), key=lambda one: one.area)
        pixel = math.hypot(*spacing)
        assert largest.area == pytest.approx(region.area, rel=0.01)
        assert largest.longest.length == pytest.approx(
            region.feret_diameter_max, abs=pixel
        )


@pytest.mark.parametrize("size", [1.0, 0.1, 0.3])
def test_mirrored_and_turned_lesions_measure_alike(size: float) -> None:
    """Both diagonals of the block are 100 long; the bump makes the line across one of them longer."""
    mask = np.zeros((140, 140), bool)
    mask[40:100, 30:110] = mask[30:40, 45:55] = True
    lengths = []
    for turns in range(4):
        for copy in (np.rot90(mask, turns), np.rot90(mask, turns)[:, ::-1]):
            copy = np.ascontiguousarray(copy)
            (lesion,) = find_lesions(copy, copy.astype(np.float32), spacing=(size,) * 2)
            lengths.append((lesion.longest.length, lesion.across.length))
    np.testing.assert_allclose(lengths, [lengths[0]] * 8, rtol=1e-12)
    assert lengths[0][0] == pytest.approx(100 * size)


@pytest.mark.parametrize("turned", [0.0, 0.4, 1.1, 2.2])
@pytest.mark.parametrize("spacing", [(0.2, 0.1), (0.08, 0.25)])
def test_a_turned_ellipse_has_its_axes_at_right_angles_in_mm(
    turned: float, spacing: tuple[float, float]
) -> None:
    long, short = 18.0, 9.0  # half axes in mm
    row, column = spacing
    height, width = round(40 / row), round(40 / column)
    y = (np.arange(height)[:, None] + 0.5) * row - 20
    x = (np.arange(width)[None] + 0.5) * column - 20
    along = x * math.cos(turned) + y * math.sin(turned)
    beside = y * math.cos(turned) - x * math.sin(turned)
    mask = (along / long) ** 2 + (beside / short) ** 2 <= 1
    (lesion,) = find_lesions(mask, mask.astype(np.float32), spacing=spacing)
    pixel = max(spacing)
    assert lesion.longest.length == pytest.approx(2 * long, abs=2 * pixel)
    assert lesion.across.length == pytest.approx(2 * short, abs=2 * pixel)
    assert lesion.area == pytest.approx(math.pi * long * short, rel=0.01)
    to_mm = np.array([column, row])
    first = np.subtract(lesion.longest.end, lesion.longest.start) * to_mm
    second = np.subtract(lesion.across.end, lesion.across.start) * to_mm
    assert abs(first @ second) < 1e-6
    assert np.hypot(*first) == pytest.approx(lesion.longest.length)


def test_square_pixels_change_nothing_but_the_unit() -> None:
    mask = np.zeros((60, 80), bool)
    mask[ellipse(30, 40, 20, 31)] = True
    (pixels,) = _lesions(mask)
    (mm,) = find_lesions(mask, mask.astype(np.float32), spacing=(0.1, 0.1))
    assert (mm.longest.start, mm.longest.end) == (
        pixels.longest.start,
        pixels.longest.end,
    )
    assert mm.longest.length == pixels.longest.length * 0.1
    assert pixels.area == pixels.pixels == mm.pixels
    assert mm.area == pytest.approx(mm.pixels * 0.01)
