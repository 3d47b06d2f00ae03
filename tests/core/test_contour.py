"""Filled again, the contours are the mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonoseg.core.contour import lesion_contours
from sonoseg.core.measure import find_lesions


def filled(rings, shape):
    """The pixels whose centre lies inside by the even-odd rule: rays to the left, without any drawing library."""
    crossings = np.zeros((shape[0], shape[1] + 1), int)
    for ring in rings:
        for (x, y), (next_x, next_y) in zip(ring, [*ring[1:], ring[0]], strict=True):
            assert x == next_x or y == next_y, "a side that is not along an edge"
            if x == next_x:
                crossings[min(y, next_y) : max(y, next_y), x] += 1
    return np.cumsum(crossings, 1)[:, :-1] % 2 == 1


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))))
@settings(max_examples=200, deadline=None)
def test_contours_enclose_exactly_the_mask(mask):
    total = np.zeros(mask.shape, int)
    for rings in lesion_contours(mask):
        total += filled(rings, mask.shape)
    np.testing.assert_array_equal(total, mask.astype(int))


@given(arrays(bool, (9, 9)))
@settings(max_examples=100, deadline=None)
def test_order_is_that_of_the_lesions(mask):
    lesions = find_lesions(mask, np.zeros(mask.shape, np.float32)) if mask.any() else ()
    contours = lesion_contours(mask)
    assert len(contours) == len(lesions)
    for lesion, rings in zip(lesions, contours, strict=True):
        assert np.count_nonzero(filled(rings, mask.shape)) == lesion.pixels


def test_a_rectangle_has_four_corners():
    mask = np.zeros((6, 7), bool)
    mask[1:4, 2:6] = True
    assert sorted(map(tuple, lesion_contours(mask)[0][0])) == [
        (2, 1),
        (2, 4),
        (6, 1),
        (6, 4),
    ]


@pytest.mark.parametrize("size", [1, 40])
def test_a_hole_is_a_ring_of_its_own(size):
    mask = np.ones((size + 2, size + 2), bool)
    mask[1:-1, 1:-1] = False
    assert len(lesion_contours(mask)[0]) == 2
