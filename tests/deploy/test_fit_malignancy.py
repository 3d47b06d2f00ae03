"""The fit of the malignancy head: what it learns, what it is validated on, and its rules."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from sonoseg.core.auc import auc
from sonoseg.deploy.fit_malignancy import (
    Lesions,
    balanced_threshold,
    fit_malignancy,
    fit_platt,
    fit_rules,
)


def lesions(count: int, seed: int, signal: float = 1.0) -> Lesions:
    random = np.random.default_rng(seed)
    malignant = random.permutation(np.arange(count) < 0.4 * count)
    vectors = random.normal(0, 1, (count, 8)).astype(np.float32)
    vectors[:, 0] += 2 * signal * malignant
    return Lesions(
        vectors, malignant, np.array([f"patient {n // 2}" for n in range(count)]),
        np.ones(count, bool), random.uniform(0.7, 1, count).astype(np.float32),
        random.uniform(0.6, 1, count).astype(np.float32),
    )  # fmt: skip


def test_it_learns_what_there_is_and_its_own_validation_is_honest():
    fitted = fit_malignancy(lesions(400, 0))
    other = lesions(400, 1)
    found = fitted.head.probabilities(fitted.head.logits(other.vectors))[:, 0]
    area = auc(other.malignant, found.astype(float))
    assert area == pytest.approx(
        auc(other.malignant, other.vectors[:, 0].astype(float)), abs=0.06
    )
    rows = np.isfinite(fitted.logits)
    known = lesions(400, 0)
    out_of_bag = auc(known.malignant[rows], fitted.logits[rows])
    assert out_of_bag == pytest.approx(area, abs=0.06)
    assert found.mean() == pytest.approx(other.malignant.mean(), abs=0.05)


def test_without_a_signal_its_own_validation_finds_none():
    known = lesions(300, 2, signal=0)
    fitted = fit_malignancy(known)
    rows = np.isfinite(fitted.logits)
    assert auc(known.malignant[rows], fitted.logits[rows]) < 0.62


def test_the_same_seed_gives_the_same_head():
    known = lesions(60, 3)
    one, other = fit_malignancy(known, 5), fit_malignancy(known, 5)
    assert np.array_equal(one.head.hidden, other.head.hidden)
    assert not np.array_equal(one.head.hidden, fit_malignancy(known, 6).head.hidden)


def test_platt_is_an_unregularised_logistic_regression():
    random = np.random.default_rng(0)
    malignant = random.random(500) < 0.4
    logits = 2 * malignant + random.normal(0, 1.5, 500)
    slope, offset = fit_platt(logits, malignant)
    model = LogisticRegression(C=1e9).fit(logits[:, None], malignant)
    assert slope == pytest.approx(model.coef_[0, 0], abs=0.01)
    assert offset == pytest.approx(model.intercept_[0], abs=0.01)


def test_the_balanced_threshold_parts_what_can_be_parted():
    probability = np.array([0.1, 0.2, 0.35, 0.6, 0.9])
    assert balanced_threshold(probability, probability > 0.3) == 0.35


def test_rules_withhold_the_middle_and_poor_outlines():
    known = lesions(600, 4, signal=0.6)
    known.outline[:60], known.dice[:60] = 0.55, 0.1
    rules = fit_rules(known.vectors[:, 0].astype(float) - 0.6, known)
    assert rules.band > 0
    assert 0.55 < rules.least_outline <= 0.8
    assert 0 < rules.sensitive < rules.balanced < 1
    clear = lesions(600, 4, signal=5)
    assert fit_rules(clear.vectors[:, 0].astype(float) - 5, clear).band == 0
