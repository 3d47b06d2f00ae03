"""Lesions keep what is needed to describe them, and are told apart."""

import numpy as np
import pytest
from tests.describe.drawn import ellipse, picture, tissue

from sonoseg.core.measure import find_lesions
from sonoseg.describe.features import measure_features
from sonoseg.describe.lesion import describe_lesions
from sonoseg.describe.questions import fitted


def lesions_of(mask, image, **changes):
    found = find_lesions(mask, mask.astype(np.float32), **changes)
    return describe_lesions(found, image, mask)


def two_lesions():
    """A frame, and a smaller lesion inside its hole that does not touch it."""
    mask = ellipse(90, 90) & ~ellipse(70, 70)
    inner = ellipse(40, 25)
    return mask | inner, inner


def test_each_lesion_is_described_alone():
    mask, inner = two_lesions()
    image = picture(np.where(mask, tissue(50), tissue(120, seed=1)))
    outer_one, inner_one = lesions_of(mask, image)
    assert np.array_equal(inner_one.part, inner)
    assert np.array_equal(outer_one.part, mask & ~inner)
    assert inner_one.features == measure_features(image, inner)


def test_a_part_of_a_frame_has_its_place_in_the_frame():
    mask, image = ellipse(50, 30), picture(tissue())
    found = find_lesions(mask, mask.astype(np.float32), corner=(400, 300))
    (lesion,) = describe_lesions(found, image, mask, origin=(400, 300))
    assert np.array_equal(lesion.part, mask)
    (here,) = lesions_of(mask, image)
    assert lesion.descriptors == here.descriptors
    assert lesion.box[0] == here.box[0] + 400


def test_the_spacing_decides_the_orientation():
    mask, image = ellipse(50, 40), picture(tissue())
    (square,) = lesions_of(mask, image)
    (tall,) = lesions_of(mask, image, spacing=(0.2, 0.1))
    assert square.descriptors.orientation.word == "parallel"
    assert tall.descriptors.orientation.word == "not parallel"


def test_a_stretch_decides_the_orientation_where_the_spacing_is_not_known():
    mask, image = ellipse(50, 40), picture(tissue())
    found = find_lesions(mask, mask.astype(np.float32))
    (tall,) = describe_lesions(found, image, mask, stretch=2.0)
    (known,) = lesions_of(mask, image, spacing=(0.2, 0.1))
    assert tall.descriptors == known.descriptors
    assert tall.longest == found[0].longest
    found = find_lesions(mask, mask.astype(np.float32), spacing=(0.1, 0.1))
    (square,) = describe_lesions(found, image, mask, stretch=2.0)
    assert square.descriptors.orientation.word == "parallel"


@pytest.mark.parametrize("stretch", [1 / (2**31 - 1), 2**31 - 1])
def test_the_largest_stretch_that_a_file_can_hold_is_described(stretch):
    mask, image = ellipse(50, 40), picture(tissue())
    found = find_lesions(mask, mask.astype(np.float32))
    (lesion,) = describe_lesions(found, image, mask, stretch=stretch)
    is_tall = lesion.descriptors.orientation.word == "not parallel"
    assert is_tall == (stretch > 1)


def test_small_lesions_are_not_described():
    radius = fitted().smallest
    small, large = ellipse(radius - 1, radius - 1), ellipse(radius + 1, radius + 1)
    (one,) = lesions_of(small, picture(tissue()))
    assert all(found.word is None for _, found in one.descriptors.named())
    assert not one.descriptors.shape.probabilities
    (other,) = lesions_of(large, picture(tissue()))
    assert other.descriptors.shape.probabilities


def test_json_has_the_descriptors_if_wanted():
    (lesion,) = lesions_of(ellipse(50, 30), picture(tissue()))
    entry = lesion.to_dict()
    assert entry["descriptors"] == lesion.descriptors.to_dict()
    assert "descriptors" not in lesion.to_dict(described=False)
    assert entry["area"] == lesion.area
    assert "image" not in repr(lesion)


def test_a_mask_that_was_changed_is_noticed():
    mask = ellipse(50, 30)
    (lesion,) = lesions_of(mask, picture(tissue()))
    mask[:] = False
    with pytest.raises(ValueError, match="no part"):
        _ = lesion.part
