"""How well words agree with a radiologist's: agreement and Cohen's κ, with bootstrap intervals, and calibration."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.intervals import RESAMPLES, SEED, interval_of

_BINS = 5
"""Groups of equal size, by probability, in which agreement and probability are compared."""


def agreement(
    words: Sequence[str],
    probabilities: Sequence[Mapping[str, float]],
    groups: Sequence[str],
) -> dict[str, Any]:
    """Compares the most probable word of N lesions with the radiologist's.

    Args:
        words: N words of a radiologist.
        probabilities: N mappings from each word to its probability.
        groups: N patients; intervals are by patient.

    Returns:
        For JSON: `lesions`; `agreement` (share) and `kappa` (Cohen 1960), each with its 95 % `interval` (None if all
        resamples are equal); κ and its interval are None if both always say the same one word, for which it is 0/0;
        `most_frequent`, the agreement of always saying the most frequent word; `log_loss` (natural logarithm), and
        `log_loss_of_frequencies`, of saying how frequent the words are; `calibration_error`, the mean distance of the
        probability of the most probable word from the agreement, in five groups of equal size.
    """
    names = sorted({*words, *probabilities[0]})
    said = [max(one, key=lambda word: one[word]) for one in probabilities]
    most = np.array([max(one.values()) for one in probabilities])
    own = np.array([one[word] for one, word in zip(probabilities, words, strict=True)])
    place = {name: number for number, name in enumerate(names)}
    truth = np.array([place[word] for word in words])
    guess = np.array([place[word] for word in said])
    draws = _draws(groups)
    all_once = np.ones((1, len(words)))
    rates, kappas = _rates(truth, guess, draws, len(names))
    (rate,), (kappa,) = _rates(truth, guess, all_once, len(names))
    counts = np.array(list(Counter(words).values())) / len(words)
    return {
        "lesions": len(words),
        "agreement": _rounded(rate),
        "agreement_interval": _interval(rates),
        "kappa": None if np.isnan(kappa) else _rounded(kappa),
        "kappa_interval": None if np.isnan(kappa) else _interval(kappas),
        "most_frequent": _rounded(counts.max()),
        "log_loss": _rounded(-np.log(np.maximum(own, 1e-6)).mean()),
        "log_loss_of_frequencies": _rounded(-(counts * np.log(counts)).sum()),
        "calibration_error": _rounded(calibration_error(most, truth == guess)),
    }


def calibration_error(
    probability: NDArray[np.float64], is_right: NDArray[np.bool_]
) -> float:
    """The mean distance of probability and share of right answers over five groups of equal size, (N,) each."""
    order = np.argsort(probability, kind="stable")
    error = 0.0
    for part in np.array_split(order, _BINS):
        if len(part):
            distance = abs(probability[part].mean() - is_right[part].mean())
            error += float(distance) * len(part) / len(order)
    return error


def _draws(groups: Sequence[str]) -> NDArray[np.float64]:
    """(RESAMPLES, N): how often each lesion is drawn, when whole patients are drawn."""
    _, member_of = np.unique(np.asarray(groups, str), return_inverse=True)
    count = int(member_of.max()) + 1
    random = np.random.default_rng(SEED)
    drawn = random.multinomial(count, np.full(count, 1 / count), RESAMPLES)
    times: NDArray[np.float64] = drawn[:, member_of].astype(np.float64)
    return times


def _rates(
    truth: NDArray[np.int64],
    guess: NDArray[np.int64],
    draws: NDArray[np.float64],
    words: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Agreement and κ, each (R,), of R resamples, whose rows say how often each lesion (N,) is drawn.

    κ is NaN where both always say the same one word.
    """
    total = draws.sum(1)
    rate = draws @ (truth == guess) / total
    frequency = draws @ np.eye(words)[truth] / total[:, None]
    said = draws @ np.eye(words)[guess] / total[:, None]
    chance = (frequency * said).sum(1)
    beyond_chance = 1 - chance
    beyond_chance[beyond_chance < 1e-9] = np.nan  # 0/0
    return rate, (rate - chance) / beyond_chance


def _interval(values: NDArray[np.float64]) -> list[float] | None:
    found = interval_of(values)
    return found and [_rounded(end) for end in found]


def _rounded(value: Any) -> float:
    return round(float(value), 4)
