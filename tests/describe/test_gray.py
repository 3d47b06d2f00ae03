"""Gray values whose comparison with the surroundings is known."""

import math

import numpy as np
import pytest
from tests.describe.drawn import CENTRE, ellipse, picture, tissue, xs, ys

from sonoseg.describe.gray import measure_gray
from sonoseg.describe.patch import cut_patch

MASK = ellipse(45, 30)
BELOW = (ys > CENTRE[1] + 32) & (np.abs(xs - CENTRE[0]) < 45)


def gray_of(gray, mask=MASK):
    return measure_gray(cut_patch(picture(gray), mask))


def with_lesion(level, **changes):
    return np.where(MASK, tissue(level, **changes), tissue(120, seed=1))


def test_echo_is_the_contrast_with_what_is_beside():
    measured = gray_of(with_lesion(40))
    assert measured.echo == pytest.approx((40 - 120) / (40 + 120), abs=0.03)
    assert measured.middle == pytest.approx(40 / 120, abs=0.03)
    assert gray_of(with_lesion(120)).echo == pytest.approx(0, abs=0.02)
    assert gray_of(with_lesion(200)).echo > 0.2


def test_depth_is_no_contrast():
    """Tissue that gets darker with depth, a lesion as bright as what is beside it."""
    fading = 220 - 0.8 * ys + tissue(0, 4)
    measured = gray_of(fading)
    assert measured.echo == pytest.approx(0, abs=0.02)
    assert measured.behind == pytest.approx(0, abs=0.02)


def test_gain_cancels():
    one, twice = gray_of(with_lesion(30) / 2), gray_of(with_lesion(30))
    assert one.echo == pytest.approx(twice.echo, abs=0.03)
    assert one.grain == pytest.approx(twice.grain, abs=0.05)


def test_a_cyst_is_black():
    assert gray_of(with_lesion(2, noise=1)).black_share > 0.95
    assert gray_of(with_lesion(60)).black_share < 0.05


def test_a_patchy_lesion_is_uneven():
    patchy = with_lesion(60) + np.where(MASK & (xs < CENTRE[0]), 60, 0)
    assert gray_of(patchy).unevenness > 3 * gray_of(with_lesion(90)).unevenness


@pytest.mark.parametrize("change", [-50, 60])
def test_a_band_behind_is_a_shadow_or_an_enhancement(change):
    measured = gray_of(with_lesion(40) + np.where(BELOW, change, 0))
    expected = change / (240 + change)
    assert measured.behind == pytest.approx(expected, abs=0.04)
    assert measured.behind_middle == pytest.approx(expected, abs=0.04)


def test_behind_may_be_both():
    half = np.where(BELOW & (xs < CENTRE[0] - 12), -60, 0)
    half = half + np.where(BELOW & (xs > CENTRE[0] + 12), 60, 0)
    measured = gray_of(with_lesion(40) + half)
    assert measured.behind_least < -0.2 and measured.behind_most > 0.15


def test_where_the_image_ends_nothing_is_behind():
    cut = np.arange(240) < CENTRE[1] + 35
    measured = measure_gray(cut_patch(picture(with_lesion(40)[cut]), MASK[cut]))
    assert math.isnan(measured.behind) and math.isnan(measured.behind_most)
    assert measured.echo == pytest.approx(-0.5, abs=0.03)


def test_a_lesion_that_fills_the_image_has_no_surroundings():
    image = picture(tissue())
    measured = measure_gray(cut_patch(image, np.ones(image.shape, bool)))
    assert math.isnan(measured.echo) and math.isnan(measured.around)
