"""How far two measurements of the same things agree: limits of agreement, and the intraclass correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import (
    SEED,
    Interval,
    bootstrap_interval,
    bootstrap_means,
    interval_of,
)

_NORMAL = 1.96
"""95 % of a normal distribution lie within so many standard deviations."""


@dataclass(frozen=True)
class Limits:
    """How one measurement differs from another one of the same N things, in the unit of the differences.

    Attributes:
        bias: the mean difference.
        bias_interval: its 95 % bootstrap interval (see `intervals.bootstrap_interval`).
        low, high: the limits of agreement, between which 95 % of normal differences lie; None for one thing.
        median_error: the median of the differences without their signs.
    """

    bias: float
    bias_interval: Interval | None
    low: float | None
    high: float | None
    median_error: float


def limits_of_agreement(
    differences: NDArray[np.float64], groups: Sequence[str]
) -> Limits:
    """Bias and limits of agreement (Bland and Altman 1986): mean ± 1.96 standard deviations of the differences.

    Args:
        differences: (N,), finite; N ≥ 1. As percent of the mean of both (see `percent_of_mean`) or in a unit.
        groups: N names of what belongs together, such as patients, for the interval.
    """
    bias = float(differences.mean())
    low = high = None
    if len(differences) > 1:
        reach = _NORMAL * float(differences.std(ddof=1))
        low, high = bias - reach, bias + reach
    return Limits(
        bias,
        bootstrap_interval(differences, groups),
        low,
        high,
        float(np.median(np.abs(differences))),
    )


def percent_of_mean(
    one: NDArray[np.float64], other: NDArray[np.float64]
) -> NDArray[np.float64]:
    """`other` minus `one`, (N,) positive each, as percent of the mean of both (Bland and Altman 1999, section 2.3)."""
    return 200 * (other - one) / (other + one)


def intraclass_correlation(
    one: NDArray[np.float64], other: NDArray[np.float64], groups: Sequence[str]
) -> tuple[float, Interval | None] | None:
    """The intraclass correlation of two measurements: absolute agreement, single measurement, two-way random effects.

    ICC(2,1) of Shrout and Fleiss 1979, ICC(A,1) of McGraw and Wong 1996: the share of the variance that comes from
    the things that are measured. A bias lowers it.

    Args:
        one, other: (N,), finite, in one unit for all; N ≥ 1.
        groups: N names of what belongs together, for the interval.

    Returns:
        It, and its 95 % bootstrap interval by group. None for one thing, or where all values are equal (0/0).
    """
    count = len(one)
    if count < 2:
        return None
    middle = (one.mean() + other.mean()) / 2
    one, other = one - middle, other - middle
    products = (one, other, one**2, other**2, one * other)
    value = _correlation([np.array([each.mean()]) for each in products], count)[0]
    if np.isnan(value):
        return None
    resampled = [bootstrap_means(each, groups, SEED) for each in products]
    return float(value), interval_of(_correlation(resampled, count))


def _correlation(
    means: Sequence[NDArray[np.float64]], count: int
) -> NDArray[np.float64]:
    """The correlation, (R,), from the means, (R,) each, of x, y, x², y² and x·y over `count` things; NaN where 0/0."""
    x, y, xx, yy, xy = means
    variances = (xx - x**2) + (yy - y**2)
    twice_covariance = 2 * (xy - x * y)
    of_things = count * (variances + twice_covariance) / 2 / (count - 1)
    of_error = count * (variances - twice_covariance) / 2 / (count - 1)
    of_measurements = count * (x - y) ** 2 / 2
    whole = of_things + of_error + 2 * (of_measurements - of_error) / count
    defined = np.where(np.abs(whole) < 1e-12 * (xx + yy) + 1e-300, np.nan, whole)
    correlation: NDArray[np.float64] = (of_things - of_error) / defined
    return correlation
