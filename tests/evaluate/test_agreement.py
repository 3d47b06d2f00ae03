"""Agreement and κ against scikit-learn; intervals by patient."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, log_loss

from sonoseg.evaluate.agreement import agreement, calibration_error

NAMES = ("a", "b", "c")


def random_answers(seed, count=90):
    random = np.random.default_rng(seed)
    words = random.choice(NAMES, count, p=(0.6, 0.3, 0.1)).tolist()
    odds = random.random((count, 3)) + 0.4 * (np.array(words)[:, None] == NAMES)
    shares = odds / odds.sum(1, keepdims=True)
    return words, [dict(zip(NAMES, row.tolist(), strict=True)) for row in shares]


@pytest.mark.parametrize("seed", range(4))
def test_against_scikit_learn(seed):
    words, probabilities = random_answers(seed)
    found = agreement(words, probabilities, [str(n) for n in range(90)])
    said = [max(one, key=one.get) for one in probabilities]
    rows = [list(one.values()) for one in probabilities]
    assert found["kappa"] == pytest.approx(cohen_kappa_score(words, said), abs=1e-4)
    assert found["log_loss"] == pytest.approx(log_loss(words, rows), abs=1e-4)
    right = np.mean([one == other for one, other in zip(words, said, strict=True)])
    assert found["agreement"] == pytest.approx(right, abs=1e-4)
    assert found["most_frequent"] == pytest.approx(words.count("a") / 90, abs=1e-4)
    low, high = found["kappa_interval"]
    assert low < found["kappa"] < high


def test_always_the_same_word_is_chance():
    words = ["a"] * 7 + ["b"] * 3
    found = agreement(words, [{"a": 0.9, "b": 0.1}] * 10, [str(n) for n in range(10)])
    assert found["agreement"] == found["most_frequent"] == 0.7
    assert found["kappa"] == 0


def test_kappa_is_not_defined_if_both_always_say_one_word():
    found = agreement(["a"] * 10, [{"a": 0.9, "b": 0.1}] * 10, list("abcdefghij"))
    assert found["agreement"] == 1
    assert found["kappa"] is found["kappa_interval"] is None
    mostly = agreement(
        ["a"] * 3 + ["b"], [{"a": 0.9, "b": 0.1}] * 3 + [{"a": 0, "b": 1}], list("abcd")
    )
    assert mostly["kappa"] == 1
    assert mostly["kappa_interval"] is mostly["agreement_interval"] is None


def test_images_of_one_patient_make_the_interval_wider():
    words, probabilities = random_answers(1)
    apart = agreement(words, probabilities, [str(n) for n in range(90)])
    together = agreement(words, probabilities, [str(n // 30) for n in range(90)])
    widths = [np.diff(one["agreement_interval"]) for one in (apart, together)]
    assert widths[0] > 0 and apart["agreement"] == together["agreement"]
    assert widths[0] != widths[1]


def test_images_of_a_single_patient_have_no_interval():
    found = agreement(*random_answers(1), ["one"] * 90)
    assert found["agreement_interval"] is found["kappa_interval"] is None


def test_calibration_error_of_answers_that_are_too_sure():
    random = np.random.default_rng(0)
    probability = random.uniform(0.5, 1, 20_000)
    true = random.random(20_000) < probability
    assert calibration_error(probability, true) < 0.02
    sure = np.minimum(probability + 0.2, 1)
    assert calibration_error(sure, true) > 0.12
