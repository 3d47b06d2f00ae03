"""Cohen's kappa: how much two judges agree beyond what chance would give (Cohen 1960)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def kappa_of_table(table: ArrayLike) -> float | None:
    """Cohen's kappa of a table of counts.

    Args:
        table: (K, K) counts; row i, column j: how often the first judge says i and the second j.

    Returns:
        1 for full agreement, 0 for that of chance, below 0 for less; None if there is nothing to judge, or if both
        always say the same one thing, for which kappa is 0/0.
    """
    counts = np.asarray(table, np.float64)
    total = counts.sum()
    if total == 0:
        return None
    observed = np.trace(counts) / total
    first = counts.sum(axis=1) / total
    second = counts.sum(axis=0) / total
    expected = float(first @ second)
    if expected == 1:
        return None
    return float((observed - expected) / (1 - expected))


def kappa(one: Sequence[str], other: Sequence[str]) -> float | None:
    """Cohen's kappa of two lists of words about the same things, in the same order; see `kappa_of_table`."""
    words = sorted({*one, *other})
    places = {word: place for place, word in enumerate(words)}
    table = np.zeros((len(words), len(words)), np.int64)
    for first, second in zip(one, other, strict=True):
        table[places[first], places[second]] += 1
    return kappa_of_table(table)
