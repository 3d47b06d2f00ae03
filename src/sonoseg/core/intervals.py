"""Bootstrap confidence intervals over images, or over groups of images that belong together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
LEVEL = 0.95
SEED = 20250101


def bootstrap_interval(
    values: NDArray[np.float64], groups: Sequence[str] | None = None
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of the mean (Efron 1979), 2000 resamples from a fixed seed.

    Images of one patient, or near-copies of one image, are not independent: with `groups` whole groups are
    drawn with replacement, as many as there are, and the mean is taken over the images of the groups drawn.

    Args:
        values: (N,), one finite value per image; N ≥ 1.
        groups: N names; None puts each image in a group of its own.

    Returns:
        Lower and upper end. Equal to each other when there is only one group.

    Raises:
        ValueError: no values, values that are not finite, or another number of groups than of values.
    """
    return _middle(bootstrap_means(values, groups, SEED))


def difference_interval(
    one: NDArray[np.float64],
    other: NDArray[np.float64],
    groups_of_one: Sequence[str],
    groups_of_other: Sequence[str],
) -> tuple[float, float]:
    """95 % bootstrap interval of the mean of `one` − the mean of `other`, which are of different images.

    Args:
        one: (N,), one finite value per image; N ≥ 1.
        other: (M,), of other images; M ≥ 1.
        groups_of_one: N names; whole groups are drawn, as in `bootstrap_interval`.
        groups_of_other: M names.
    """
    means_of_one = bootstrap_means(one, groups_of_one, SEED)
    means_of_other = bootstrap_means(other, groups_of_other, SEED + 1)
    return _middle(means_of_one - means_of_other)


def _middle(means: NDArray[np.float64]) -> tuple[float, float]:
    """The ends of the middle `LEVEL` of the means."""
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def bootstrap_means(
    values: NDArray[np.float64], groups: Sequence[str] | None, seed: int
) -> NDArray[np.float64]:
    """The means (RESAMPLES,) of as many resamples of `values` (N,), whole groups drawn; see `bootstrap_interval`."""
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError("values must be a non-empty one-dimensional array of finite numbers")
    if groups is not None and len(groups) != len(values):
        raise ValueError(f"{len(values)} values but {len(groups)} groups")
    names = np.arange(len(values)) if groups is None else np.asarray(groups, dtype=str)
    _, member_of = np.unique(names, return_inverse=True)
    sums = np.bincount(member_of, values)
    sizes = np.bincount(member_of)
    # How often each group is drawn is multinomial: a matrix product instead of 2000 gathers.
    random = np.random.default_rng(seed)
    groups_count = len(sums)
    chances = np.full(groups_count, 1 / groups_count)
    draws = random.multinomial(groups_count, chances, RESAMPLES).astype(np.float64)
    means: NDArray[np.float64] = (draws @ sums) / (draws @ sizes)
    return means
