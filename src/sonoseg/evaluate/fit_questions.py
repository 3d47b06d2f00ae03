"""Fits the logistic regressions of `sonoseg.describe.questions`, and predicts each patient from the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonoseg.describe.questions import Question, Regression, columns

PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Weights of the squared coefficients from which an inner cross-validation chooses."""
FOLDS, INNER_FOLDS = 10, 5
SEED = 24
_DIGITS = 6


@dataclass(frozen=True)
class Answered:
    """N measured outlines with the words of a radiologist.

    Attributes:
        features: one mapping per outline.
        words: one word of the question per outline.
        weights: (N,) float64, how much each outline counts.
        groups: the patient of each outline.
    """

    features: Sequence[Mapping[str, float]]
    words: Sequence[str]
    weights: NDArray[np.float64]
    groups: Sequence[str]

    def part(self, is_in: NDArray[np.bool_]) -> Answered:
        """The outlines for which `is_in` (N,) is True."""
        kept = np.flatnonzero(is_in).tolist()
        return Answered(
            [self.features[row] for row in kept],
            [self.words[row] for row in kept],
            self.weights[kept],
            [self.groups[row] for row in kept],
        )


def fold_of(groups: Sequence[str], folds: int, seed: int = SEED) -> dict[str, int]:
    """The fold, 0 to `folds` - 1, of each patient; folds have equal numbers of patients, or differ by one."""
    names = sorted(set(groups))
    order = np.random.default_rng(seed).permutation(len(names))
    return {names[place]: number % folds for number, place in enumerate(order)}


def fit(question: Question, answered: Answered) -> Regression:
    """Fits a question with the penalty that an inner cross-validation by patient chooses by its log loss.

    Without any answer, all words are equally probable.
    """
    if not answered.words:
        return _ignorant(question)
    folds = fold_of(answered.groups, INNER_FOLDS, SEED + 1)
    fold = np.array([folds[group] for group in answered.groups])
    losses = []
    for penalty in PENALTIES:
        loss = 0.0
        for number in range(INNER_FOLDS):
            rest = answered.part(fold != number)
            held = answered.part(fold == number)
            if rest.words and held.words:
                model = fit_with(question, rest, penalty)
                loss += _log_loss(question, model, held)
        losses.append(loss)
    return fit_with(question, answered, PENALTIES[int(np.argmin(losses))])


def _ignorant(question: Question) -> Regression:
    zeros, ones = (0.0,) * len(question.features), (1.0,) * len(question.features)
    words = question.words
    weights, bias = (zeros,) * len(words), (0.0,) * len(words)
    return Regression(words, question.features, zeros, ones, weights, bias)


def fit_with(question: Question, answered: Answered, penalty: float) -> Regression:
    """Fits a question with one penalty: weighted log loss + penalty / 2 × sum of the squared weights, by L-BFGS."""
    from scipy.optimize import minimize

    values = columns(answered.features, question.features)
    mean = np.nanmean(values, 0)
    scale = np.maximum(np.nanstd(values, 0), 1e-6)
    standard = np.nan_to_num((values - mean) / scale)
    target = _one_hot(question, answered.words)
    shape = len(question.words), len(question.features) + 1
    extended = np.hstack([standard, np.ones((len(standard), 1))])

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        logits = extended @ weights.T
        logits -= logits.max(1, keepdims=True)
        log_sum = np.log(np.exp(logits).sum(1, keepdims=True))
        log_probability = logits - log_sum
        own = (target * log_probability).sum(1)
        # The bias is hardly penalised: it learns how frequent a word is.
        strength = np.full(shape, penalty)
        strength[:, -1] = 1e-3
        value = -(answered.weights * own).sum() + (strength * weights**2).sum() / 2
        error = answered.weights[:, None] * (np.exp(log_probability) - target)
        return float(value), (error.T @ extended + strength * weights).ravel()

    start = np.zeros(shape).ravel()
    found = minimize(loss, start, jac=True, method="L-BFGS-B").x.reshape(shape)
    return Regression(
        question.words,
        question.features,
        _rounded(mean),
        _rounded(scale),
        tuple(_rounded(row) for row in found[:, :-1]),
        _rounded(found[:, -1]),
    )


def _one_hot(question: Question, words: Sequence[str]) -> NDArray[np.float64]:
    places = [question.words.index(word) for word in words]
    hot: NDArray[np.float64] = np.eye(len(question.words))[places]
    return hot


def _log_loss(question: Question, model: Regression, held: Answered) -> float:
    rows = model.rows(columns(held.features, question.features))
    own = (rows * _one_hot(question, held.words)).sum(1)
    return float(-(held.weights * np.log(np.maximum(own, 1e-6))).sum())


def _rounded(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)


def fit_steepness(own: Sequence[float], reference: Sequence[float]) -> float:
    """How fast the probability of not parallel rises with log(height / width) of the network's outline.

    Args:
        own: height / width of N outlines.
        reference: the same of the N reference masks; not parallel if it is over 1, and not counted at 1.

    Returns:
        The most likely slope of a logistic function through 0.5 at height = width.
    """
    from scipy.optimize import minimize_scalar

    logs = np.log(np.asarray(own, np.float64))
    signs = np.sign(np.asarray(reference, np.float64) - 1)

    def loss(steepness: float) -> float:
        return float(np.logaddexp(0, -steepness * logs * signs).sum())

    return round(float(minimize_scalar(loss, bounds=(0.1, 100), method="bounded").x), 4)
