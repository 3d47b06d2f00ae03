"""Joining two lesions: what is between them is filled, their outer borders stay."""

import numpy as np
import pytest
from skimage.measure import label
from skimage.morphology import convex_hull_image, dilation, disk

from sonoseg.errors import InputError
from sonoseg.serve.bridge import joined


def discs(*places):
    y, x = np.mgrid[:120, :160]
    mask = np.zeros(y.shape, bool)
    for centre_x, centre_y, radius in places:
        mask |= np.hypot(x - centre_x, y - centre_y) <= radius
    return mask


@pytest.mark.parametrize(
    ("one", "other"),
    [((40, 60), (110, 60)), ((30, 30), (120, 95)), ((40, 60), (70, 60))],
)
def test_two_discs_become_one_part_within_their_hull(one, other):
    mask = discs((*one, 14), (*other, 9))
    assert label(mask, connectivity=2).max() == 2
    result = joined(mask, one, other)
    assert label(result, connectivity=2).max() == 1
    assert (mask & ~result).sum() == 0
    # scikit-image takes pixels as points, which makes its hull up to a pixel smaller.
    assert (result & ~dilation(convex_hull_image(mask), disk(1))).sum() == 0
    middle = (one[0] + other[0]) // 2, (one[1] + other[1]) // 2
    assert result[middle[1], middle[0]]


def test_bays_on_the_far_side_stay_open():
    mask = discs((40, 60, 20), (110, 60, 15))
    mask[55:65, 20:40] = False
    result = joined(mask, (50, 60), (110, 60))
    assert not result[60, 25]


def test_single_pixels_and_a_part_in_a_bay_are_joined_too():
    dots = np.zeros((40, 40), bool)
    dots[5, 5] = dots[30, 20] = True
    ring = discs((80, 60, 40)) & ~discs((80, 60, 30))
    ring[55:65, 40:60] = False
    ring |= discs((80, 60, 4))
    for mask, one, other in ((dots, (5, 5), (20, 30)), (ring, (80, 25), (80, 60))):
        result = joined(mask, one, other)
        assert label(result, connectivity=2).max() == 1


def test_a_third_lesion_stays():
    mask = discs((30, 30, 9), (60, 30, 9), (120, 90, 9))
    result = joined(mask, (30, 30), (60, 30))
    assert label(result, connectivity=2).max() == 2


@pytest.mark.parametrize("other", [(0, 0), (42, 60)])
def test_what_is_not_two_lesions_is_refused(other):
    with pytest.raises(InputError):
        joined(discs((40, 60, 14), (110, 60, 9)), (40, 60), other)
