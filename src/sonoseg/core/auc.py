"""The area under the ROC curve of one score per image, its interval by patient, and the paired test of two scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import RESAMPLES, SEED, Interval, interval_of

Floats = NDArray[np.float64]
_AT_ONCE = 200
"""Resamples that are worked out together; more need more memory."""


def auc(positive: NDArray[np.bool_], score: Floats) -> float | None:
    """The probability that a positive image has a higher score than a negative one, ties counted as half.

    Args:
        positive: (N,), what is to be recognised, such as malignant lesions.
        score: (N,), finite.

    Returns:
        0 to 1 (Mann-Whitney); None unless there are both kinds.
    """
    if positive.all() or not positive.any():
        return None
    return float(_weighted_auc(positive, score, np.ones((1, len(score))))[0])


def auc_interval(
    positive: NDArray[np.bool_], score: Floats, groups: Sequence[str]
) -> Interval | None:
    """The 95 % percentile bootstrap interval of `auc`: 2000 resamples of whole groups, fixed seed.

    Args:
        positive, score: as in `auc`.
        groups: N names, such as patients.

    Returns:
        Lower and upper end; None where `auc` is None, or if all resamples are equal, see `interval_of`.
    """
    if auc(positive, score) is None:
        return None
    return interval_of(_resampled(positive, score, groups))


def paired_auc_test(
    positive: NDArray[np.bool_], one: Floats, other: Floats, groups: Sequence[str]
) -> tuple[float, Interval | None, float] | None:
    """Whether two scores of the same images differ in AUC, by a bootstrap of groups.

    DeLong's test (1988) takes images as independent; those of one patient are not. So patients are resampled.

    Args:
        positive: (N,).
        one, other: (N,), the scores.
        groups: N names, such as patients.

    Returns:
        AUC of `one` minus AUC of `other`, its 95 % interval (None if all resamples are equal), and a two-sided p: twice
        the share of resamples in which the difference has the other sign or is 0. It is at least 1 / 2000, and at least
        the smallest p of a test that flips the signs of G groups, 2 / 2^G. None where there is no AUC.
    """
    first, second = auc(positive, one), auc(positive, other)
    if first is None or second is None:
        return None
    resampled = _resampled(positive, one, groups) - _resampled(positive, other, groups)
    resampled = resampled[np.isfinite(resampled)]
    smaller = min((resampled <= 0).mean(), (resampled >= 0).mean())
    smallest = max(1 / RESAMPLES, 2.0 ** (1 - len(set(groups))))
    p = min(1.0, max(2 * float(smaller), smallest))
    return first - second, interval_of(resampled), p


def _resampled(
    positive: NDArray[np.bool_], score: Floats, groups: Sequence[str]
) -> Floats:
    """(2000,): the AUC in each resample of the groups; NaN where one kind is missing."""
    names, member = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    random = np.random.default_rng(SEED)
    chances = np.full(len(names), 1 / len(names))
    draws = random.multinomial(len(names), chances, RESAMPLES)
    parts = []
    for start in range(0, RESAMPLES, _AT_ONCE):
        weights = draws[start : start + _AT_ONCE][:, member].astype(np.float64)
        parts.append(_weighted_auc(positive, score, weights))
    return np.concatenate(parts)


def _weighted_auc(
    positive: NDArray[np.bool_], score: Floats, weights: Floats
) -> Floats:
    """(R,): the AUC if image n counts `weights[r, n]` times; NaN where one kind has no weight."""
    order = np.argsort(score, kind="stable")
    sorted_score, is_positive = score[order], positive[order]
    starts = np.flatnonzero(np.append(True, np.diff(sorted_score) > 0))
    own = np.add.reduceat(weights[:, order] * is_positive, starts, axis=1)
    other = np.add.reduceat(weights[:, order] * ~is_positive, starts, axis=1)
    below = np.cumsum(other, axis=1) - other
    wins = (own * (below + other / 2)).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = wins / (own.sum(1) * other.sum(1))
    return found
