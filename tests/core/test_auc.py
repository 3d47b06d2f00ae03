"""AUC of images against scikit-learn, its interval by group, and the paired test."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from sonoseg.core.auc import auc, auc_interval, paired_auc_test


def drawn(seed: int, count: int = 120) -> tuple:
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.4
    score = np.round(positive + random.normal(0, 1, count), 1)  # with ties
    groups = [f"patient {number // 2}" for number in range(count)]
    return positive, score, groups


@pytest.mark.parametrize("seed", range(5))
def test_it_is_that_of_scikit_learn(seed):
    positive, score, _ = drawn(seed)
    assert auc(positive, score) == pytest.approx(roc_auc_score(positive, score))


def test_one_kind_alone_has_none():
    positive, score = np.ones(3, bool), np.arange(3.0)
    assert auc(positive, score) is None
    assert auc_interval(positive, score, "abc") is None
    assert paired_auc_test(positive, score, score, "abc") is None


def test_the_interval_is_that_of_resampled_patients():
    positive, score, groups = drawn(0)
    low, high = auc_interval(positive, score, groups)
    names = np.array(groups)
    random = np.random.default_rng(7)
    areas = []
    for _ in range(500):
        chosen = random.choice(np.unique(names), 60)
        rows = np.concatenate([np.flatnonzero(names == name) for name in chosen])
        areas.append(roc_auc_score(positive[rows], score[rows]))
    assert (low, high) == pytest.approx(
        tuple(np.quantile(areas, (0.025, 0.975))), abs=0.02
    )


def test_the_paired_test_sees_a_difference_and_none_where_there_is_none():
    positive, score, groups = drawn(1)
    noise = np.random.default_rng(2).normal(0, 1, len(score))
    difference, (low, high), p = paired_auc_test(positive, score, noise, groups)
    assert difference == pytest.approx(auc(positive, score) - auc(positive, noise))
    assert 0 < low < difference < high
    assert p < 0.05
    same = paired_auc_test(positive, score, score, groups)
    assert same == (0, None, 1)


def test_one_patient_tells_nothing_of_others():
    positive, score, _ = drawn(1)
    noise = np.random.default_rng(2).normal(0, 1, len(score))
    one = ["a"] * len(score)
    assert auc_interval(positive, score, one) is None
    difference, interval, p = paired_auc_test(positive, score, noise, one)
    assert difference > 0.1 and interval is None and p == 1
    three = [f"patient {number % 3}" for number in range(len(score))]
    assert paired_auc_test(positive, score, noise, three)[2] == 2 / 2**3


def test_a_perfect_order_has_no_interval():
    positive = np.arange(20) > 9
    groups = [f"patient {number}" for number in range(20)]
    assert auc(positive, np.arange(20.0)) == 1
    assert auc_interval(positive, np.arange(20.0), groups) is None
