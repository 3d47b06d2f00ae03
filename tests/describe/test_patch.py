"""Every lesion is cut out at the same size, whatever the image's."""

import numpy as np
import pytest
from tests.describe.drawn import CENTRE, ellipse, picture, tissue

from sonoseg.describe.patch import RADIUS, cut_patch
from sonoseg.errors import InputError


@pytest.mark.parametrize("size", [3, 12, 60])
def test_a_lesion_has_the_radius_of_the_patch(size):
    patch = cut_patch(picture(tissue()), ellipse(size, size))
    assert patch.radius == pytest.approx(RADIUS, rel=0.06)
    assert patch.gray.shape == patch.lesion.shape == patch.inside.shape


def test_gray_values_stay_where_they_were():
    mask = ellipse(40, 25)
    patch = cut_patch(picture(np.where(mask, 30.0, 160.0)), mask)
    assert (
        abs(patch.gray[patch.lesion].mean() - 30) < 3
    )  # the rim is between the pixels
    assert abs(patch.gray[~patch.lesion & patch.inside].mean() - 160) < 3


def test_what_is_beyond_the_image_is_not_inside():
    mask = np.zeros((60, 80), bool)
    mask[40:60, :20] = True
    patch = cut_patch(np.full((60, 80), 90, np.uint8), mask)
    assert patch.inside.mean() < 0.6
    assert patch.gray[patch.inside].min() == 90 and patch.gray[~patch.inside].max() == 0


def test_pixels_become_square():
    tall = ellipse(60, 20)
    patch = cut_patch(picture(tissue()), tall, (0.3, 0.1))  # rows three times as far
    rows, columns = np.nonzero(patch.lesion)
    assert np.ptp(rows) == pytest.approx(np.ptp(columns), abs=3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (2, 3)])
def test_masks_of_a_line_or_a_point_have_a_lesion(shape):
    mask = np.zeros((520, 520), bool)
    mask[5 : 5 + shape[0], 5 : 5 + shape[1]] = True
    patch = cut_patch(np.full((520, 520), 100, np.uint8), mask)
    assert patch.lesion.any() and max(patch.gray.shape) < 700


def test_a_mask_that_does_not_fit_is_refused():
    image = picture(tissue())
    with pytest.raises(InputError, match="empty"):
        cut_patch(image, np.zeros(image.shape, bool))
    with pytest.raises(InputError, match="another size"):
        cut_patch(image, np.ones((int(CENTRE[0]), 9), bool))
