"""Patches make and unmake changes; what is packed comes back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonoseg.errors import InputError
from sonoseg.serve.patch import difference, from_text, pack, to_text, unpack

masks = arrays(bool, (7, 13))


@given(masks, masks)
@settings(deadline=None)
def test_a_patch_leads_from_one_mask_to_the_other_and_back(before, after):
    patch = difference(before, after)
    mask = before.copy()
    patch.apply(mask)
    np.testing.assert_array_equal(mask, after)
    patch.revert(mask)
    np.testing.assert_array_equal(mask, before)


def test_a_patch_is_as_small_as_the_change():
    before = np.zeros((50, 60), bool)
    after = before.copy()
    after[10:12, 20:25] = True
    patch = difference(before, after)
    assert (patch.x, patch.y, patch.width, patch.height) == (20, 10, 5, 2)


@given(arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 20))))
@settings(deadline=None)
def test_bits_and_text_come_back(mask):
    np.testing.assert_array_equal(unpack(pack(mask), *mask.shape), mask)
    np.testing.assert_array_equal(from_text(to_text(mask), *mask.shape), mask)


@pytest.mark.parametrize("text", ["", "AAAA", "*", "é"])
def test_wrong_bits_are_refused(text):
    with pytest.raises(InputError):
        from_text(text, 2, 3)
