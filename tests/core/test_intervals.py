"""Bootstrap intervals against SciPy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap

from sonoseg.core.intervals import (
    bootstrap_interval,
    difference_interval,
    share_interval,
)


@pytest.mark.parametrize("size", [5, 16, 78, 400])
def test_the_interval_agrees_with_scipys_percentile_bootstrap(size: int) -> None:
    values = np.random.default_rng(size).beta(2, 1, size)
    # Many more resamples than ours: the reference's own noise is then small against ours.
    reference = bootstrap(
        (values,),
        np.mean,
        n_resamples=20000,
        batch=500,
        method="percentile",
        rng=np.random.default_rng(1),
    )
    expected, error = reference.confidence_interval, reference.standard_error
    assert bootstrap_interval(values) == pytest.approx(
        (expected.low, expected.high), abs=0.2 * error
    )


def test_grouped_resampling_agrees_with_a_plain_loop_over_groups() -> None:
    random = np.random.default_rng(2)
    groups = [f"patient {n}" for n in random.integers(0, 25, 90)]
    values = random.random(90) + np.array(
        [int(name.split()[1]) / 25 for name in groups]
    )
    members = [
        np.flatnonzero([name == own for name in groups]) for own in sorted(set(groups))
    ]
    means = []
    for _ in range(8000):
        drawn = random.integers(0, len(members), len(members))
        means.append(values[np.concatenate([members[d] for d in drawn])].mean())
    expected = np.quantile(means, [0.025, 0.975])
    assert bootstrap_interval(values, groups) == pytest.approx(
        tuple(expected), abs=0.2 * np.std(means)
    )


def test_groups_of_one_are_the_same_as_no_groups() -> None:
    values = np.random.default_rng(4).random(30)
    names = [f"{n:02}" for n in range(30)]
    assert bootstrap_interval(values, names) == pytest.approx(
        bootstrap_interval(values)
    )


def test_the_interval_is_the_same_every_time() -> None:
    values = np.random.default_rng(6).random(50)
    assert bootstrap_interval(values) == bootstrap_interval(values)


@pytest.mark.parametrize(
    ("values", "groups"),
    [
        ([0.4], None),
        ([0.2, 0.6, 0.7], ["a"] * 3),
        ([0.1] * 9, None),
        ([0.1] * 9, list("aabbbcccc")),  # the sums of a group are rounded
        ([0.2, 0.6, 0.6, 0.2], list("aabb")),
    ],
)
def test_no_spread_between_groups_is_no_interval(
    values: list[float], groups: list[str] | None
) -> None:
    """An interval without width would say that the mean is known exactly."""
    assert bootstrap_interval(np.array(values), groups) is None


@pytest.mark.parametrize("count", [2, 16, 100])
@pytest.mark.parametrize("counted", [True, False])
def test_a_share_of_none_or_all_has_the_exact_interval(
    count: int, counted: bool
) -> None:
    expected = binomtest(count * counted, count).proportion_ci(method="exact")
    values = np.full(count, counted)
    assert share_interval(values) == pytest.approx((expected.low, expected.high))
    thrice = [f"patient {n}" for n in range(count)] * 3
    assert share_interval(np.tile(values, 3), thrice) == share_interval(values)


def test_other_shares_have_the_interval_of_their_mean() -> None:
    values = np.array([True, False, False, True, False])
    assert share_interval(values) == bootstrap_interval(values.astype(float))
    assert share_interval(np.array([False, False]), ["a", "a"]) is None
    assert share_interval(values[:4], ["a", "a", "b", "b"]) is None


def test_a_difference_to_a_single_group_has_no_interval() -> None:
    many = np.random.default_rng(3).random(20)
    names = [f"{n}" for n in range(20)]
    assert difference_interval(many, many[:2], names, ["a", "a"]) is None
    assert difference_interval(many[:2], many, ["a", "a"], names) is None


@pytest.mark.parametrize("values", [[], [0.5, float("nan")], [[0.1, 0.2]]])
def test_values_that_have_no_mean_are_refused(values: list[object]) -> None:
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(np.array(values, dtype=np.float64))


def test_the_difference_of_two_means_has_an_interval_around_it() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(0.8, 0.1, 200), random.normal(0.7, 0.1, 100)
    low, high = difference_interval(
        one, other, [f"a{n}" for n in range(200)], [f"b{n}" for n in range(100)]
    )
    error = np.sqrt(one.var() / 200 + other.var() / 100)
    assert (low, high) == pytest.approx(
        one.mean() - other.mean() + np.array([-1.96, 1.96]) * error, abs=0.004
    )


def test_the_difference_of_two_means_draws_patients_whole() -> None:
    """Ten images of each patient that are all alike tell no more than one of each."""
    random = np.random.default_rng(1)
    one, other = random.normal(0.8, 0.1, 30), random.normal(0.7, 0.1, 20)
    patients = [f"a{n}" for n in range(30)], [f"b{n}" for n in range(20)]
    tenfold = difference_interval(
        np.repeat(one, 10),
        np.repeat(other, 10),
        list(np.repeat(patients[0], 10)),
        list(np.repeat(patients[1], 10)),
    )
    assert tenfold == pytest.approx(difference_interval(one, other, *patients))


def test_groups_must_be_as_many_as_values() -> None:
    with pytest.raises(ValueError, match="3 values but 2 groups"):
        bootstrap_interval(np.zeros(3), ["a", "b"])
