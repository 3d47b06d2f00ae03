"""Statistical tests of paired answers, and the correction for several of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MOST_TOTALS = 2**14
"""With more different totals than this, `_sign_flip_p` is not exact. 14 groups never have more."""
LARGEST_SHARE = 0.03
"""Up to this share of one group in the variance of the total, the total is taken to be normally distributed."""
DRAWS, AT_ONCE = 100_000, 1_000
"""Random sign patterns where a group has a larger share, as a long loop among single images has."""


def signed_rank_p(differences: NDArray[np.float64], groups: Sequence[str]) -> float:
    """Returns the two-sided p of the signed-rank test that paired `differences` centre on 0.

    Images of one patient are not independent, nor are near-copies of one image. So the signed ranks are summed in each
    group, and the signs of whole groups are flipped (Rosner, Glynn and Lee 2006, Biometrics 62:185). Zeros are ranked
    and then left out (Pratt 1959). If each image has a group of its own, it is Wilcoxon's test.

    Args:
        differences: (N,), one per image.
        groups: N names.

    Returns:
        0 to 1; 1 if all differences are 0.
    """
    from scipy.stats import rankdata

    signed_ranks = np.sign(differences) * rankdata(np.abs(differences))
    return _sign_flip_p(signed_ranks, groups)


def mcnemar_p(
    one: NDArray[np.bool_], other: NDArray[np.bool_], groups: Sequence[str]
) -> float | None:
    """Returns the two-sided p that two paired yes-no answers have the same rate; None if N = 0.

    As in `signed_rank_p`, whole groups are flipped. If each image has a group of its own, it is the exact McNemar test.

    Args:
        one, other: (N,), the answers.
        groups: N names.
    """
    if not len(one):
        return None
    return _sign_flip_p(one.astype(np.float64) - other, groups)


def _sign_flip_p(values: NDArray[np.float64], groups: Sequence[str]) -> float:
    """The share of the sign patterns of the groups with a total of `values` (N,) at least as far from 0 as theirs.

    Each value is a multiple of ½, so that totals are exact. The share is exact unless there are more than `MOST_TOTALS`
    different totals; then it is that of a normal distribution, or of `DRAWS` random patterns with the found one added.
    """
    if len(groups) != len(values):
        raise ValueError(f"{len(values)} values but {len(groups)} groups")
    _, member_of = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    sums = np.bincount(member_of, values).astype(np.float64)
    found = abs(sums.sum())
    totals = np.zeros(1)
    shares = np.ones(1)
    for own in sums[sums != 0]:
        both = np.concatenate([totals - own, totals + own])
        totals, place = np.unique(both, return_inverse=True)
        shares = np.bincount(place, np.tile(shares / 2, 2)).astype(np.float64)
        if len(totals) > MOST_TOTALS:
            return _approximate_p(sums, found)
    return min(1.0, float(shares[np.abs(totals) >= found].sum()))


def _approximate_p(sums: NDArray[np.float64], found: float) -> float:
    variance = (sums**2).sum()
    if (sums**2).max() <= LARGEST_SHARE * variance:
        return math.erfc(found / math.sqrt(2 * variance))
    random = np.random.default_rng(0)
    reached = 1
    for _ in range(DRAWS // AT_ONCE):
        signs = 2.0 * random.integers(0, 2, (AT_ONCE, len(sums))) - 1
        reached += int((np.abs(signs @ sums) >= found).sum())
    return reached / (DRAWS + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values corrected by Holm's step-down method (1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    ascending = np.asarray(p_values)[order]
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.maximum.accumulate(ascending * factors)
    result = np.empty(len(p_values))
    result[order] = np.minimum(1, adjusted)
    return [float(p) for p in result]
