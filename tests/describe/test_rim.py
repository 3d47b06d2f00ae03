"""Rims that are sharp, blurred, ragged or bright."""

import math

import numpy as np
import pytest
from PIL import Image, ImageFilter
from tests.describe.drawn import CENTRE, blob, ellipse, picture, tissue, xs, ys

from sonoseg.describe.patch import cut_patch
from sonoseg.describe.rim import measure_rim

MASK = ellipse(45, 35)


def rim_of(gray, mask=MASK):
    return measure_rim(cut_patch(picture(gray), mask))


def blurred(gray, radius):
    image = Image.fromarray(picture(gray))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), float)


def lesion(level=40):
    return np.where(MASK, level, 120.0)


def test_the_step_of_a_clear_rim():
    rim = rim_of(lesion() + tissue(0, 3))
    assert rim.step == pytest.approx(0.5, abs=0.04)
    assert rim.clear_share == 1 and rim.step_spread < 0.05
    assert abs(rim.halo) < 0.02


def test_no_lesion_has_no_step():
    rim = rim_of(tissue())
    assert abs(rim.step) < 0.03 and rim.clear_share == 0


def test_a_blurred_rim_is_less_sharp():
    sharp, soft = rim_of(lesion()), rim_of(blurred(lesion(), 10))
    assert sharp.sharpness > 0.9 > 0.7 > soft.sharpness
    assert sharp.jitter < 0.03


def test_half_a_rim_is_half_clear():
    half = np.where(MASK & (xs < CENTRE[0]), 40, 120.0) + tissue(0, 3)
    rim = rim_of(half)
    assert rim.clear_share == pytest.approx(0.5, abs=0.1)
    assert rim.step_spread > 0.2 and rim.step_least < 0.05


def test_a_bright_ring_is_a_halo():
    ring = ellipse(56, 46) & ~MASK
    assert rim_of(lesion() + np.where(ring, 80, 0)).halo > 0.15


def test_rays_are_spikes():
    angle = np.arctan2(ys - CENTRE[1], xs - CENTRE[0])
    rays = np.where(~MASK & (np.cos(16 * angle) > 0.6), -70, 0)
    assert rim_of(lesion() + rays).spikes > 0.2 > rim_of(lesion()).spikes


def test_a_mask_of_all_the_image_has_no_rim():
    image = picture(tissue())
    rim = measure_rim(cut_patch(image, np.ones(image.shape, bool)))
    assert math.isnan(rim.step)


@pytest.mark.parametrize("seed", range(6))
def test_a_mirrored_lesion_has_the_same_rim(seed):
    lobes, phase = np.random.default_rng(seed).uniform(0, 2 * math.pi, 2)
    mask = blob(lambda angle: 45 * (1 + 0.12 * np.cos(3 * angle + lobes)))
    angle = np.arctan2(ys - CENTRE[1], xs - CENTRE[0])
    around = tissue(90, seed=seed + 9) + 50 * np.cos(5 * angle + phase)
    gray = np.where(mask, tissue(50, seed=seed), around)
    rim = rim_of(gray, mask)
    mirrored = rim_of(gray[:, ::-1], np.ascontiguousarray(mask[:, ::-1]))
    assert mirrored.step_least == pytest.approx(rim.step_least, abs=0.004)
    assert mirrored.step_spread == pytest.approx(rim.step_spread, abs=0.001)
    assert mirrored.clear_share == pytest.approx(rim.clear_share, abs=0.02)
