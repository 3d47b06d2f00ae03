"""Counts of pixels, by hand and against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from sonoseg.core.counts import count, stack


def test_a_small_mask_is_counted_as_by_hand() -> None:
    truth = np.array([[1, 1, 0], [0, 0, 0]], dtype=bool)
    prediction = np.array([[1, 0, 1], [1, 0, 0]], dtype=bool)
    counts = count(prediction, truth)
    assert [a.tolist() for a in (counts.tp, counts.fp, counts.fn, counts.tn)] == [
        [1],
        [2],
        [1],
        [2],
    ]


@pytest.mark.parametrize("lesion", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("drawn", [0.0, 0.6, 1.0])
def test_counts_agree_with_scikit_learn(lesion: float, drawn: float) -> None:
    random = np.random.default_rng(3)
    truth, prediction = (
        random.random((40, 33)) < lesion,
        random.random((40, 33)) < drawn,
    )
    counts = count(prediction, truth)
    tn, fp, fn, tp = confusion_matrix(
        truth.ravel(), prediction.ravel(), labels=[False, True]
    ).ravel()
    assert (counts.tp[0], counts.fp[0], counts.fn[0], counts.tn[0]) == (tp, fp, fn, tn)


def test_stacked_counts_keep_their_order_and_can_be_picked() -> None:
    masks = [
        np.eye(4, dtype=bool),
        np.zeros((4, 4), dtype=bool),
        np.ones((4, 4), dtype=bool),
    ]
    counts = stack(count(np.ones((4, 4), dtype=bool), mask) for mask in masks)
    assert counts.tp.tolist() == [4, 0, 16]
    assert counts.has_lesion.tolist() == [True, False, True]
    assert counts[counts.has_lesion].fp.tolist() == [12, 0]
    assert len(counts) == 3


def test_counting_refuses_masks_that_are_not_boolean_or_not_of_one_shape() -> None:
    mask = np.zeros((4, 4), dtype=bool)
    with pytest.raises(TypeError, match="uint8"):
        count(np.full((4, 4), 255, dtype=np.uint8), mask)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one shape"):
        count(mask, np.zeros((1, 4), dtype=bool))
    with pytest.raises(ValueError, match="no counts"):
        stack([])
