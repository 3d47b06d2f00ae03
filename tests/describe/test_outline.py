"""Holes are filled as by scipy."""

import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from sonoseg.describe.outline import filled


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.8, 0.95])
def test_holes_are_filled_as_by_scipy(share):
    random = np.random.default_rng(0)
    for _ in range(20):
        height, width = random.integers(1, 30, 2)
        mask = random.random((height, width)) < share
        before = mask.copy()
        assert np.array_equal(filled(mask), binary_fill_holes(mask))
        assert np.array_equal(mask, before)


def test_a_hole_ends_where_pixels_touch_at_a_corner():
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert filled(ring).sum() == 5
