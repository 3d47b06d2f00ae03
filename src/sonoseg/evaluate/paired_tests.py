"""Statistical tests of paired answers, and the correction for several of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def signed_rank_p(differences: NDArray[np.float64]) -> float:
    """Returns the two-sided p of Wilcoxon's signed-rank test that paired `differences` (N,) centre on 0.

    It is 1 if all differences are 0.
    """
    from scipy.stats import wilcoxon

    if not differences.any():
        return 1.0
    return float(wilcoxon(differences, zero_method="pratt").pvalue)


def mcnemar_p(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """Returns the two-sided exact p that two paired yes-no answers (N,) have the same rate; None if N = 0."""
    from scipy.stats import binomtest

    if not len(one):
        return None
    only_one = int((one & ~other).sum())
    only_other = int((other & ~one).sum())
    if only_one + only_other == 0:
        return 1.0
    return float(binomtest(only_one, only_one + only_other).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns the p-values corrected by Holm's step-down method (1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    ascending = np.asarray(p_values)[order]
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.maximum.accumulate(ascending * factors)
    result = np.empty(len(p_values))
    result[order] = np.minimum(1, adjusted)
    return [float(p) for p in result]
