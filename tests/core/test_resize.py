"""The one resize: averages when it shrinks, and is the same bit by bit in a part as in the whole."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sonoseg.core.resize import enlarge, reach, resize_image, resize_mask

GRAY = np.random.default_rng(0).integers(0, 256, (40, 52), np.uint8)


def test_resizing_averages_when_it_shrinks_and_keeps_masks_hard() -> None:
    checkers = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    shrunk = resize_image(checkers, (16, 20))
    assert shrunk.shape == (16, 20)
    assert np.abs(shrunk.astype(int) - 127).max() <= 16
    mask = resize_mask(GRAY > 128, (80, 104))
    np.testing.assert_array_equal(mask[::2, ::2], GRAY > 128)
    assert mask.dtype == np.bool_


@pytest.mark.parametrize("shape", [(700, 1000), (192, 192), (193, 250), (2000, 192)])
def test_maps_are_enlarged_as_pillow_does_it(shape: tuple[int, int]) -> None:
    small = np.random.default_rng(0).random((192, 192), np.float32)
    picture = Image.fromarray(small).resize(shape[::-1], Image.Resampling.BILINEAR)
    np.testing.assert_allclose(enlarge(small, shape), np.asarray(picture), atol=1e-6)


@pytest.mark.parametrize(
    "shape", [(700, 1000), (48, 64), (16, 500), (64, 48), (47, 100)]
)
def test_outside_its_reach_nothing_is_over_the_threshold_and_inside_all_is_the_same(
    shape: tuple[int, int],
) -> None:
    random = np.random.default_rng(0)
    for lesions in (0, 1, 2, 40):
        small = random.random((48, 64), np.float32) * 0.39
        small[random.integers(0, 48, lesions), random.integers(0, 64, lesions)] = 0.9
        whole, region = enlarge(small, shape), reach(small >= 0.4, shape)
        np.testing.assert_array_equal(enlarge(small, shape, region), whole[region])
        found = whole >= 0.4
        found[region] = False
        assert not found.any()
    assert enlarge(small, shape).shape == shape
    assert enlarge(
        np.zeros((2, 2), np.float32), (5, 5), reach(np.zeros((2, 2), bool), (5, 5))
    ).shape == (0, 0)
