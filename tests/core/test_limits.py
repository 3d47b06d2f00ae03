"""Agreement of two measurements: against a textbook's table, against an analysis of variance, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.limits import (
    Limits,
    intraclass_correlation,
    limits_of_agreement,
    percent_of_mean,
)

SHROUT_AND_FLEISS = np.array(
    [
        [9, 2, 5, 8],
        [6, 1, 3, 2],
        [8, 4, 6, 8],
        [7, 1, 2, 6],
        [10, 5, 6, 9],
        [6, 2, 4, 7],
    ],
    np.float64,
)
"""Six things, each rated by four judges (Shrout and Fleiss 1979, table 2). They print ICC(2,1) = 0.29."""


def by_analysis_of_variance(ratings: NDArray[np.float64]) -> float:
    """ICC(2,1) of (N, K) ratings from the mean squares, as Shrout and Fleiss write it."""
    things, judges = ratings.shape
    mean = ratings.mean()
    between = judges * ((ratings.mean(1) - mean) ** 2).sum() / (things - 1)
    of_judges = things * ((ratings.mean(0) - mean) ** 2).sum() / (judges - 1)
    rest = ratings - ratings.mean(1, keepdims=True) - ratings.mean(0) + mean
    error = (rest**2).sum() / (things - 1) / (judges - 1)
    below = between + (judges - 1) * error + judges * (of_judges - error) / things
    return float((between - error) / below)


def names(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_the_textbooks_own_numbers() -> None:
    assert by_analysis_of_variance(SHROUT_AND_FLEISS) == pytest.approx(0.29, abs=0.005)


@pytest.mark.parametrize("pair", [(0, 1), (0, 3), (2, 3)])
def test_two_judges_correlate_as_the_analysis_of_variance_says(
    pair: tuple[int, int],
) -> None:
    one, other = SHROUT_AND_FLEISS[:, pair].T
    found = intraclass_correlation(one, other, names(6))
    assert found is not None
    expected = by_analysis_of_variance(SHROUT_AND_FLEISS[:, pair])
    assert found[0] == pytest.approx(expected, abs=1e-12)
    far = intraclass_correlation(one + 1e6, other + 1e6, names(6))
    assert far is not None and far[0] == pytest.approx(expected, abs=1e-6)


def test_the_interval_holds_most_true_values() -> None:
    """Things of variance 4, measured twice with an error of variance 1: the true correlation is 0.8."""
    held = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        things = random.normal(20, 2, 80)
        one, other = things + random.normal(0, 1, (2, 80))
        found = intraclass_correlation(one, other, names(80))
        assert found is not None and found[1] is not None
        assert found[1][0] < found[0] < found[1][1]
        held += found[1][0] <= 0.8 <= found[1][1]
    assert held >= 34


def test_things_of_one_group_are_drawn_together() -> None:
    """Each thing four times: the interval is that of the things, not of four times as many."""
    random = np.random.default_rng(0)
    things = random.normal(20, 2, 30)
    one, other = things + random.normal(0, 1, (2, 30))
    once = intraclass_correlation(one, other, names(30))
    often = intraclass_correlation(np.tile(one, 4), np.tile(other, 4), names(30) * 4)
    assert once and often and once[1] and often[1]
    assert often[0] == pytest.approx(once[0], abs=0.01)
    assert often[1] == pytest.approx(once[1], abs=0.03)
    assert limits_of_agreement(
        np.tile(other - one, 4), names(30) * 4
    ).bias_interval == pytest.approx(bootstrap_interval(other - one, names(30)))


def test_a_bias_lowers_the_correlation_and_shows_as_bias() -> None:
    one = np.array([10.0, 12, 15, 21])
    assert intraclass_correlation(one, one, names(4)) == (pytest.approx(1), None)
    shifted = intraclass_correlation(one, one + 5, names(4))
    assert shifted is not None and 0 < shifted[0] < 0.7
    limits = limits_of_agreement(np.full(4, 5.0), names(4))
    assert limits == Limits(5, None, 5, 5, 5)


def test_limits_by_hand() -> None:
    limits = limits_of_agreement(np.array([-3.0, 1, 2, 4]), names(4))
    assert limits.bias == 1 and limits.median_error == 2.5
    deviation = np.sqrt((16 + 0 + 1 + 9) / 3)
    assert limits.low == pytest.approx(1 - 1.96 * deviation)
    assert limits.high == pytest.approx(1 + 1.96 * deviation)


def test_percent_is_of_the_mean_of_both() -> None:
    one, other = np.array([10.0, 30, 7]), np.array([30.0, 10, 7])
    assert percent_of_mean(one, other).tolist() == [100, -100, 0]


def test_what_is_not_defined_is_none() -> None:
    single, equal = np.array([3.0]), np.full(5, 3.3)
    assert limits_of_agreement(single, ["a"]) == Limits(3, None, None, None, 3)
    assert intraclass_correlation(single, single, ["a"]) is None
    assert intraclass_correlation(equal, equal, names(5)) is None
    apart = intraclass_correlation(equal, equal + 1, names(5))
    assert apart is not None and apart[0] == pytest.approx(0, abs=1e-9)
