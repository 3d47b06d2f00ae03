"""Forms whose answers are known, and skimage's own measurements of random forms."""

import math

import numpy as np
import pytest
from skimage.measure import regionprops
from tests.describe.drawn import blob, ellipse, picture, star, tissue

from sonoseg.describe.patch import cut_patch
from sonoseg.describe.shape import measure_shape


def shape_of(mask, spacing=None):
    return measure_shape(cut_patch(picture(tissue()), mask, spacing))


def test_a_circle():
    shape = shape_of(ellipse(50, 50))
    assert shape.axis_ratio > 0.98 and shape.circularity > 0.97
    assert shape.ellipse_overlap > 0.97 and shape.height_to_width == pytest.approx(
        1, abs=0.03
    )
    assert shape.turning < 0.1 and shape.lobes < 0.02
    assert shape.sharpest == pytest.approx(math.pi / 10, abs=0.25)


@pytest.mark.parametrize("tilt", [0, 20, 70, 90])
def test_the_tilt_of_an_ellipse(tilt):
    shape = shape_of(ellipse(60, 30, tilt))
    assert shape.tilt == pytest.approx(tilt, abs=1.5)
    assert shape.axis_ratio == pytest.approx(0.5, abs=0.02)
    assert shape.ellipse_overlap > 0.96
    assert (shape.height_to_width > 1) == (tilt > 45)


def test_the_spacing_decides_what_is_wide():
    mask = ellipse(50, 40)
    assert shape_of(mask).height_to_width < 1
    assert shape_of(mask, (0.2, 0.1)).height_to_width == pytest.approx(1.6, abs=0.05)


def test_a_star_is_irregular():
    shape, round_shape = shape_of(star()), shape_of(ellipse(50, 50))
    assert shape.solidity < 0.8 and shape.turning > 1
    assert shape.lobes > 5 * round_shape.lobes
    assert shape.sharpest > 2 * round_shape.sharpest


def test_fine_teeth_are_bumps_and_not_lobes():
    toothed = shape_of(blob(lambda angle: 50 * (1 + 0.06 * np.cos(16 * angle))))
    lobed = shape_of(blob(lambda angle: 50 * (1 + 0.06 * np.cos(5 * angle))))
    assert toothed.bumps > 4 * lobed.bumps
    assert lobed.lobes > 4 * toothed.lobes


@pytest.mark.parametrize("seed", range(6))
def test_against_skimage(seed):
    random = np.random.default_rng(seed)
    waves = random.normal(0, 0.25, (2, 4)) / np.arange(1, 5) ** 0.7

    def radius(angle):
        value = np.full(angle.shape, 50.0)
        for wave in range(4):
            value += 30 * waves[0, wave] * np.cos((wave + 2) * angle)
            value += 30 * waves[1, wave] * np.sin((wave + 2) * angle)
        return value

    mask = blob(radius)
    shape = shape_of(mask)
    (known,) = regionprops(mask.astype(int))
    ratio = math.sqrt(1 - known.eccentricity**2)
    assert shape.axis_ratio == pytest.approx(ratio, abs=0.03)
    assert shape.solidity == pytest.approx(known.solidity, abs=0.03)
    circularity = 4 * math.pi * known.area / known.perimeter_crofton**2
    assert shape.circularity == pytest.approx(circularity, rel=0.05)
    tilt = 90 - abs(math.degrees(known.orientation))  # skimage counts from the rows
    assert shape.tilt == pytest.approx(tilt, abs=4) or ratio > 0.9


@pytest.mark.parametrize("hole", [3, 10, 25, 38])
def test_a_hole_does_not_change_the_form(hole):
    mask = ellipse(60, 40)
    assert shape_of(mask & ~ellipse(hole, hole)) == shape_of(mask)
    tilted = mask & ~ellipse(50, hole / 3, 20)
    assert shape_of(tilted, (0.2, 0.1)) == shape_of(mask, (0.2, 0.1))


@pytest.mark.parametrize("size", [(1, 1), (1, 200), (2, 2)])
def test_the_smallest_masks_are_measured(size):
    mask = np.zeros((240, 300), bool)
    mask[20 : 20 + size[0], 20 : 20 + size[1]] = True
    shape = shape_of(mask)
    assert all(math.isfinite(value) for value in vars(shape).values())
