"""A click or a box finds the lesions of phantoms that the network has missed."""

import numpy as np
import pytest

from sonoseg.data.phantom import make_phantom
from sonoseg.serve import grow


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def middle(mask):
    y, x = np.argwhere(mask).mean(0).astype(int)
    return int(x), int(y)


@pytest.mark.parametrize("seed", range(4))
def test_click_on_a_lesion_that_the_network_missed(seed):
    pixels, truth = make_phantom(seed)
    nothing = np.zeros(pixels.shape, np.float32)
    assert dice(grow.grow_at(pixels, nothing, *middle(truth)), truth) > 0.8


def test_box_round_a_lesion_that_the_network_missed():
    pixels, truth = make_phantom(3)
    rows, columns = np.nonzero(truth)
    left, top = int(columns.min()) - 6, int(rows.min()) - 6
    box = (left, top, int(columns.max()) + 7 - left, int(rows.max()) + 7 - top)
    grown = grow.grow_in(pixels, np.zeros(pixels.shape, np.float32), box)
    assert dice(grown, truth) > 0.8
    inside = np.zeros(truth.shape, bool)
    inside[top : top + box[3], left : left + box[2]] = True
    assert not (grown & ~inside).any()


def test_where_the_network_is_likely_its_map_decides():
    probability = np.zeros((100, 120), np.float32)
    probability[20:40, 30:60] = 0.4
    probability[60:80, 30:60] = 0.9
    grown = grow.grow_at(np.zeros((100, 120), np.uint8), probability, 35, 25)
    np.testing.assert_array_equal(grown, probability == np.float32(0.4))


def test_on_an_even_image_a_disc_is_grown():
    even = np.full((100, 120), 90, np.uint8)
    grown = grow.grow_at(even, np.zeros(even.shape, np.float32), 60, 50)
    assert grown[50, 60]
    assert 10 < grown.sum() < 400


@pytest.mark.parametrize(("x", "y"), [(0, 0), (119, 99), (0, 99)])
def test_corners_of_the_image_can_be_clicked(x, y):
    pixels = np.random.default_rng(0).integers(0, 255, (100, 120), np.uint8)
    grown = grow.grow_at(pixels, np.zeros(pixels.shape, np.float32), x, y)
    assert grown[y, x]


def test_part_at_takes_one_part():
    mask = np.zeros((20, 20), bool)
    mask[2:9, 2:9] = True
    mask[4:6, 4:6] = False
    mask[12:15, 12:15] = True
    assert grow.part_at(mask, 2, 2).sum() == 45
    assert not grow.part_at(mask, 0, 0).any()


def test_holes_are_filled_also_where_the_border_touches_at_corners_only():
    """Parts are joined at corners, so what lies behind a corner is inside."""
    y, x = np.indices((40, 40))
    ring = abs(y - 20) + abs(x - 20) == 10
    probability = np.where(ring, np.float32(0.9), np.float32(0))
    grown = grow.grow_at(np.zeros((40, 40), np.uint8), probability, 10, 20)
    np.testing.assert_array_equal(grown, abs(y - 20) + abs(x - 20) <= 10)
