"""Sizes of outlines against those of reference masks: which lesion, which unit, which numbers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, label

from sonoseg.core.limits import Limits, limits_of_agreement
from sonoseg.core.measure import find_lesions
from sonoseg.core.sizes import (
    MEASURES,
    Measured,
    Sizes,
    measure_sizes,
    place_of_largest,
    sizes_summary,
)


def mask(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """(60, 80) with rectangles: row, column, height, width."""
    drawn = np.zeros((60, 80), np.bool_)
    for row, column, height, width in boxes:
        drawn[row : row + height, column : column + width] = True
    return drawn


def test_the_largest_lesion_is_measured_and_the_outline_that_shares_most_of_it() -> (
    None
):
    truth = mask((5, 5, 4, 4), (20, 20, 12, 16))
    # A larger outline elsewhere, one on the small lesion, and two on the large one.
    prediction = mask((40, 2, 18, 60), (5, 5, 4, 4), (18, 20, 8, 9), (30, 30, 2, 3))
    sizes = measure_sizes(prediction, truth, (1.0, 1.0), False)
    assert sizes.reference == Measured(pytest.approx(20), pytest.approx(15), 192)
    assert sizes.outline == Measured(
        pytest.approx(np.hypot(8, 9)), pytest.approx(np.hypot(8, 9) * 8 / 9), 72
    )
    assert not sizes.missed and not sizes.is_metric


def test_the_spacing_counts_in_both_directions() -> None:
    truth = mask((10, 10, 30, 4))
    sizes = measure_sizes(truth, truth, (0.1, 0.5), True)
    assert sizes.reference == sizes.outline
    assert sizes.reference is not None
    assert sizes.reference.longest_diameter == pytest.approx(np.hypot(3, 2))
    assert sizes.reference.area == pytest.approx(6)


def test_an_outline_elsewhere_is_a_missed_lesion() -> None:
    truth, elsewhere, empty = mask((5, 5, 9, 9)), mask((30, 30, 9, 9)), mask()
    assert measure_sizes(elsewhere, truth, (1.0, 1.0), False).missed
    assert measure_sizes(empty, truth, (1.0, 1.0), False).missed
    assert measure_sizes(elsewhere, empty, (1.0, 1.0), False) == Sizes()
    assert not Sizes().missed


def test_parts_that_touch_at_a_corner_are_one_lesion() -> None:
    """As everywhere in sonoseg."""
    corner = mask((5, 5, 4, 4), (9, 9, 4, 4))
    sizes = measure_sizes(corner, corner, (1.0, 1.0), False)
    assert sizes.reference is not None and sizes.reference.area == 32


def of(reference: float, outline: float | None, is_metric: bool = True) -> Sizes:
    """Sizes of which all three measures are one number."""
    found = None if outline is None else Measured(outline, outline, outline)
    return Sizes(Measured(reference, reference, reference), found, is_metric)


def test_the_summary_keeps_percent_of_all_and_millimetres_of_some() -> None:
    sizes = [
        of(10, 12),
        of(20, 19),
        of(30, 33),
        of(300, 100, is_metric=False),
        of(5, None),
        Sizes(),
    ]
    groups = ["a", "b", "c", "d", "e", "f"]
    table = sizes_summary(sizes, groups)
    assert (table["images"], table["images_metric"], table["missed"]) == (4, 3, 1)
    percent = np.array([200 * 2 / 22, -200 / 39, 200 * 3 / 63, -100])
    expected = limits_of_agreement(percent, groups[:4])
    for name, unit in MEASURES.items():
        same_limits(table[name]["percent"], expected)
        same_limits(
            table[name]["absolute"],
            limits_of_agreement(np.array([2.0, -1, 3]), groups[:3]),
        )
        assert table[name]["absolute"]["unit"] == unit
        low, high = table[name]["absolute"]["icc_interval"]
        assert low < table[name]["absolute"]["icc"] <= high


def same_limits(table: dict[str, object], expected: Limits) -> None:
    assert table["bias"] == pytest.approx(expected.bias)
    assert table["bias_interval"] == pytest.approx(expected.bias_interval)
    assert table["limits"] == pytest.approx([expected.low, expected.high])
    assert table["median_error"] == pytest.approx(expected.median_error)


def blobs(seed: int) -> NDArray[np.bool_]:
    noise = np.random.default_rng(seed).normal(size=(60, 80))
    return np.asarray(gaussian_filter(noise, 3) > 0.06)


@pytest.mark.parametrize("seed", range(12))
def test_the_part_that_shares_most_pixels(seed: int) -> None:
    reference, other = blobs(seed), blobs(seed + 50)
    parts, _ = label(reference, np.ones((3, 3)))
    largest = parts == 1 + np.argmax(np.bincount(parts.ravel())[1:])
    outlines, count = label(other, np.ones((3, 3)))
    shared = [np.count_nonzero(largest & (outlines == n + 1)) for n in range(count)]
    place = place_of_largest(reference, other)
    if not any(shared):
        assert place is None
        return
    assert place is not None
    found = find_lesions(other, other.astype(np.float32))[place]
    x, y, width, height = found.box
    best = outlines == 1 + int(np.argmax(shared))
    assert found.pixels == np.count_nonzero(best)
    assert np.count_nonzero(best[y : y + height, x : x + width]) == found.pixels


def test_masks_without_a_common_lesion_have_no_place() -> None:
    empty, one, other = np.zeros((3, 9, 9), np.bool_)
    one[:3, :3] = other[5:, 5:] = True
    assert place_of_largest(one, one) == 0
    for pair in ((one, other), (one, empty), (empty, one), (empty, empty)):
        assert place_of_largest(*pair) is None
