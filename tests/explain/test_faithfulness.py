"""The measures of a heat map against values worked out by hand, and against independent implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import auc, jaccard_score

from sonoseg.explain.faithfulness import (
    STEPS,
    area_under,
    blur,
    border_agreement,
    exchanged,
    heat_order,
    heat_share,
    pointing,
    random_order,
    rank_correlations,
)

SHAPE = (56, 64)


def make_mask() -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[20:36, 24:48] = True
    return mask


def make_heat(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(SHAPE, np.float32)


def test_a_perfect_map_has_all_its_heat_in_the_lesion_and_a_flat_one_the_area() -> None:
    mask = make_mask()
    area = 16 * 24 / (56 * 64)
    assert heat_share(mask.astype(np.float32), mask) == 1
    assert heat_share((~mask).astype(np.float32), mask) == 0
    assert heat_share(np.full(SHAPE, 0.3, np.float32), mask) == pytest.approx(area)
    assert heat_share(np.zeros(SHAPE, np.float32), mask) == pytest.approx(area)


def test_the_share_of_heat_by_hand() -> None:
    heat = np.array([[1, 2], [3, 4]], np.float32)
    assert heat_share(heat, np.array([[True, False], [False, True]])) == 0.5


@pytest.mark.parametrize(
    ("column", "hit"),
    [(24, 1), (47, 1), (48 + 3, 1), (48 + 4, 0), (24 - 4, 1), (24 - 5, 0)],
)
def test_pointing_allows_15_pixels_of_224(column: int, hit: float) -> None:
    heat = np.zeros(SHAPE, np.float32)
    heat[28, column] = 1  # the side is 64: 4.3 pixels are allowed
    assert pointing(heat, make_mask())[0] == hit


def test_pointing_of_a_flat_map_is_that_of_chance() -> None:
    mask = make_mask()
    hit, chance = pointing(np.zeros(SHAPE, np.float32), mask)
    rows, columns = np.nonzero(mask)
    y, x = np.indices(SHAPE)
    nearest = (
        np.min((y[..., None] - rows) ** 2 + (x[..., None] - columns) ** 2, axis=2)
        ** 0.5
    )
    assert hit == chance == (nearest <= 15 / 224 * 64).mean() > mask.mean()


def test_the_hottest_pixels_as_many_as_the_mask_are_compared_with_it() -> None:
    mask, ties = make_mask(), random_order(SHAPE, 0)
    assert border_agreement(heat_order(mask.astype(np.float32), ties), mask) == (1, 0)
    heat = make_heat()
    hottest = heat >= np.sort(heat.ravel())[-mask.sum()]
    iou, distance = border_agreement(heat_order(heat, ties), mask)
    assert iou == pytest.approx(jaccard_score(mask.ravel(), hottest.ravel()))
    assert distance > 2
    moved = np.roll(mask, 3, axis=1)
    assert border_agreement(heat_order(moved.astype(np.float32), ties), mask)[
        0
    ] == pytest.approx(21 / 27)


def test_the_distance_of_borders_by_hand() -> None:
    mask, heat = np.zeros(SHAPE, bool), np.zeros(SHAPE, np.float32)
    mask[5, 5:7] = True
    heat[5, 8:10] = 1  # from 8 and 9 to 6, and from 5 and 6 to 8
    assert border_agreement(heat_order(heat, random_order(SHAPE, 0)), mask) == (
        0,
        (2 + 3 + 3 + 2) / 4,
    )


@pytest.mark.parametrize("shape", [(224, 224), (96, 128), (3, 5)])
def test_a_random_order_takes_squares_one_after_another_and_comes_again_with_its_seed(
    shape: tuple[int, int],
) -> None:
    order = random_order(shape, 7)
    assert sorted(order.ravel()) == list(range(order.size))
    np.testing.assert_array_equal(order, random_order(shape, 7))
    assert (order != random_order(shape, 8)).any()
    side = max(1, round(max(shape) / 14))
    for top in range(0, shape[0], side):
        square = order[top : top + side, :side]
        assert np.ptp(square) == square.size - 1


def test_pixels_go_by_their_heat_and_equals_at_random() -> None:
    heat, ties = make_heat(), random_order(SHAPE, 0)
    order = heat_order(heat, ties)
    assert (np.diff(heat.ravel()[np.argsort(order.ravel())]) <= 0).all()
    np.testing.assert_array_equal(heat_order(np.zeros(SHAPE, np.float32), ties), ties)


def test_every_step_exchanges_the_same_number_of_pixels_the_first_ones_first() -> None:
    image, other = np.zeros(SHAPE, np.float32), np.ones(SHAPE, np.float32)
    order = random_order(SHAPE, 0)
    steps = exchanged(image, other, order)
    assert steps.shape == (STEPS - 1, *SHAPE) and steps.dtype == np.float32
    np.testing.assert_allclose(
        steps.mean((1, 2)), np.arange(1, STEPS) / STEPS, atol=1e-3
    )
    np.testing.assert_array_equal(steps[0] == 1, order < order.size / STEPS)
    assert (np.diff(steps, axis=0) >= 0).all()


def test_the_blur_hides_a_lesion_and_keeps_the_brightness() -> None:
    image = np.where(make_mask(), 0.1, 0.7).astype(np.float32)
    blurred = blur(image)
    assert np.ptp(blurred) < np.ptp(image) and abs(blurred.mean() - image.mean()) < 0.02
    np.testing.assert_allclose(blur(np.full(SHAPE, 0.5, np.float32)), 0.5, rtol=1e-5)


def test_the_area_under_a_curve_is_scikit_learns() -> None:
    curve = np.random.default_rng(0).random(STEPS + 1)
    assert area_under(curve) == pytest.approx(auc(np.linspace(0, 1, STEPS + 1), curve))
    assert area_under(np.linspace(1, 0, STEPS + 1)) == pytest.approx(0.5)


def test_the_rank_correlation_is_scipys_with_ties_as_well() -> None:
    one, other = make_heat(0), make_heat(1)
    tied = np.maximum(one + 0.3 * other - 0.7, 0)
    found = rank_correlations(tied, [one, other, tied, 1 - one])
    expected = [
        spearmanr(tied.ravel(), each.ravel()).statistic
        for each in (one, other, tied, 1 - one)
    ]
    np.testing.assert_allclose(found, expected)
    assert found[2] == pytest.approx(1)


def test_a_flat_map_has_nothing_to_keep_and_one_that_becomes_flat_has_lost_it() -> None:
    flat = np.zeros(SHAPE, np.float32)
    assert rank_correlations(flat, [make_heat(), flat]) == [None, None]
    assert rank_correlations(make_heat(), [flat]) == [0]
