"""Calipers of a reader: which lesion they belong to, and where their lengths appear."""

import math

import numpy as np
import pytest

from sonoseg.core.measure import find_lesions
from sonoseg.errors import InputError
from sonoseg.serve.calipers import (
    by_hand,
    diameters_text,
    join_calipers,
    spacing_of,
    split_calipers,
)
from sonoseg.serve.records import Finding

MASK = np.zeros((60, 80), bool)
MASK[10:30, 10:40] = True
MASK[40:50, 50:70] = True


def lesions(spacing):
    return find_lesions(MASK, MASK.astype(np.float32), spacing=spacing)


def test_lines_belong_to_the_lesion_that_holds_their_middle():
    pair = [[52, 45, 66, 45], [60, 41, 60, 49]]
    pairs = split_calipers(join_calipers([pair]))
    found, is_by_hand = by_hand(lesions((0.1, 0.2)), pairs, (0.1, 0.2))
    assert is_by_hand == [False, True]
    assert found[0] == lesions((0.1, 0.2))[0]
    assert math.isclose(found[1].longest.length, 14 * 0.2)
    assert math.isclose(found[1].across.length, 8 * 0.1)
    assert found[1].pixels == 200


def test_the_longer_line_is_the_long_axis_whatever_was_drawn_first():
    pair = [[60, 41, 60, 49], [52, 45, 66, 45]]
    found, _ = by_hand(lesions(None), split_calipers(join_calipers([pair])), None)
    assert (found[1].longest.length, found[1].across.length) == (14, 8)
    assert diameters_text(found).endswith("; 14 x 8 px")


def test_lines_of_a_lesion_that_is_gone_count_nowhere():
    pairs = split_calipers(join_calipers([[[0, 55, 5, 55], [2, 50, 2, 58]]]))
    assert by_hand(lesions(None), pairs, None) == (list(lesions(None)), [False, False])


@pytest.mark.parametrize(
    "pairs",
    [
        [[[1, 2, 3, 4]]],
        [[[1, 2, 3], [1, 2, 3, 4]]],
        [[[math.nan, 2, 3, 4], [1, 2, 3, 4]]],
        [[[1, 2, 3, math.inf], [1, 2, 3, 4]]],
        [[[1.0, 2.0, 3.0, 4.0]] * 2] * 51,
    ],
)
def test_what_are_no_lines_is_refused(pairs):
    with pytest.raises(InputError):
        join_calipers(pairs)


def test_the_spacing_that_the_page_shows_is_that_of_the_file():
    own = (0.1 + 1e-12, 0.1)
    assert spacing_of(Finding(spacing="0.1"), own) == own
    assert spacing_of(Finding(), own) == own
    assert spacing_of(Finding(spacing="0.2"), own) == (0.2, 0.2)
    assert spacing_of(Finding(), None) is None
