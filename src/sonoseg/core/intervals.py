"""Bootstrap confidence intervals over images, or over groups of images that belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
"""Quantiles of the resampled means that are the ends of the interval."""
SEED = 20250101
Interval = tuple[float, float]
"""Lower and upper end."""
_NO_SPREAD = 1e-9
"""Resamples that differ by less are equal: what is left is the rounding of sums."""


def bootstrap_interval(
    values: NDArray[np.float64], groups: Sequence[str] | None = None
) -> Interval | None:
    """Returns the 95 % percentile bootstrap interval of the mean (Efron 1979): 2000 resamples, fixed seed.

    Images of one patient are not independent, nor are near-copies of one image. With `groups`, whole groups are drawn
    with replacement, as many as there are. The mean is taken over the images of the groups that were drawn.

    Args:
        values: (N,), one finite value per image; N ≥ 1.
        groups: N names; None puts each image into a group of its own.

    Returns:
        Lower and upper end; None if all resamples are equal, see `interval_of`.

    Raises:
        ValueError: there are no values, a value is not finite, or the numbers of groups and values differ.
    """
    return interval_of(bootstrap_means(values, groups, SEED))


def share_interval(
    is_counted: NDArray[np.bool_], groups: Sequence[str] | None = None
) -> Interval | None:
    """Returns a 95 % interval of the share of True: that of `bootstrap_interval`, or at 0 and 1 the exact one.

    If all images or none are counted, all resamples are equal. Then the ends are those of Clopper and Pearson (1934),
    with each group as one observation.

    Args:
        is_counted: (N,), for each image; N ≥ 1.
        groups: N names; None puts each image into a group of its own.

    Returns:
        Lower and upper end; None if there is only one group, or no spread between several.
    """
    found = bootstrap_interval(is_counted.astype(np.float64), groups)
    observations = len(is_counted if groups is None else set(groups))
    if found is not None or observations < 2:
        return found
    farthest = float(((1 - LEVEL) / 2) ** (1 / observations))
    if is_counted.all():
        return farthest, 1.0
    return None if is_counted.any() else (0.0, 1 - farthest)


def difference_interval(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    groups_of_one: Sequence[str],
    groups_of_other: Sequence[str],
) -> Interval | None:
    """Returns the 95 % bootstrap interval of the mean of `one` minus the mean of `other`, for different images.

    Args:
        one: (N,), one finite value per image; N ≥ 1.
        other: (M,), values of other images; M ≥ 1.
        groups_of_one: N names; whole groups are drawn, as in `bootstrap_interval`.
        groups_of_other: M names.

    Returns:
        Lower and upper end; None if the mean of `one` or of `other` has no interval.
    """
    means = bootstrap_means(one, groups_of_one, SEED)
    other_means = bootstrap_means(other, groups_of_other, SEED + 1)
    if interval_of(means) is None or interval_of(other_means) is None:
        return None
    return interval_of(means - other_means)


def interval_of(resampled: NDArray[np.float64]) -> Interval | None:
    """Returns the 95 % percentile interval of resampled numbers (R,); NaN are left out.

    Returns:
        Lower and upper end. None if all are equal, as with one group, or with equal values: such resamples know nothing
        of the spread between groups, and an interval without width would pretend that there is none.
    """
    found = resampled[np.isfinite(resampled)]
    if not len(found) or np.ptp(found) < _NO_SPREAD:
        return None
    low, high = np.quantile(found, ENDS)
    return float(low), float(high)


def bootstrap_means(
    values: NDArray[np.float64], groups: Sequence[str] | None, seed: int
) -> NDArray[np.float64]:
    """Returns (RESAMPLES,): the means of the resamples of `values` (N,). See `bootstrap_interval` for the groups.

    Raises:
        ValueError: as `bootstrap_interval`.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            "values must be a non-empty one-dimensional array of finite numbers"
        )
    if groups is not None and len(groups) != len(values):
        raise ValueError(f"{len(values)} values but {len(groups)} groups")
    names = np.arange(len(values)) if groups is None else np.asarray(groups, dtype=str)
    _, member_of = np.unique(names, return_inverse=True)
    sums = np.bincount(member_of, values)
    sizes = np.bincount(member_of)
    # The number of times that each group is drawn is multinomial. So all resamples are one matrix product.
    random = np.random.default_rng(seed)
    equal_chances = np.full(len(sums), 1 / len(sums))
    draws = random.multinomial(len(sums), equal_chances, RESAMPLES).astype(np.float64)
    means: NDArray[np.float64] = (draws @ sums) / (draws @ sizes)
    return means
