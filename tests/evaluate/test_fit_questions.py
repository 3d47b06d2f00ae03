"""Fitting against scikit-learn, and folds that keep patients together."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from sonoseg.describe.questions import Question, columns
from sonoseg.evaluate.fit_questions import (
    Answered,
    fit,
    fit_steepness,
    fit_with,
    fold_of,
)

QUESTION = Question(("a", "b", "c"), ("one", "two"))


def lesions(count=150, seed=0):
    random = np.random.default_rng(seed)
    places = random.integers(0, 3, count)
    centres = np.array([[0, 0], [2, 0], [0, 2]])[places]
    values = centres + random.normal(0, 1, (count, 2)) * (1, 3)
    features = [{"one": one, "two": two} for one, two in values.tolist()]
    words = [QUESTION.words[place] for place in places]
    return Answered(features, words, np.ones(count), [str(n) for n in range(count)])


@pytest.mark.parametrize("penalty", [0.3, 10.0])
def test_against_scikit_learn(penalty):
    answered = lesions()
    values = columns(answered.features, QUESTION.features)
    found = fit_with(QUESTION, answered, penalty)
    standard = (values - values.mean(0)) / values.std(0)
    other = LogisticRegression(C=1 / penalty, max_iter=5000, tol=1e-8)
    other.fit(standard, answered.words)
    expected = other.predict_proba(standard)
    assert found.rows(values) == pytest.approx(expected, abs=2e-3)


def test_weights_count_lesions():
    """A lesion of weight 2 is two lesions."""
    answered = lesions(60)
    twice = Answered(
        [*answered.features, *answered.features[:20]],
        [*answered.words, *answered.words[:20]],
        np.ones(80),
        [*answered.groups, *answered.groups[:20]],
    )
    weights = np.ones(60)
    weights[:20] = 2
    heavy = Answered(answered.features, answered.words, weights, answered.groups)
    values = columns(answered.features, QUESTION.features)
    one, other = (fit_with(QUESTION, each, 1e-3) for each in (twice, heavy))
    assert one.rows(values) == pytest.approx(other.rows(values), abs=5e-3)


def test_features_that_say_nothing_get_a_strong_penalty():
    answered = lesions()
    order = np.random.default_rng(1).permutation(len(answered.words))
    shuffled = [answered.words[place] for place in order]
    noise = Answered(answered.features, shuffled, answered.weights, answered.groups)
    values = columns(answered.features, QUESTION.features)
    assert fit(QUESTION, noise).rows(values).max() < 0.55
    assert fit(QUESTION, answered).rows(values).max() > 0.8


def test_without_answers_all_words_are_equally_probable():
    nothing = Answered([], [], np.zeros(0), [])
    found = fit(QUESTION, nothing).probabilities({"one": 5.0, "two": -3.0})
    assert found == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 1 / 3})


def test_missing_values_are_possible():
    answered = lesions(60)
    holes = [{**one, "two": float("nan")} for one in answered.features[:30]]
    features = [*holes, *answered.features[30:]]
    known = Answered(features, answered.words, answered.weights, answered.groups)
    assert np.isfinite(fit_with(QUESTION, known, 1.0).bias).all()


def test_folds_have_whole_patients_and_equal_sizes():
    folds = fold_of(["p1", "p1", "p2", "p3", "p4", "p5"], 2)
    assert set(folds) == {"p1", "p2", "p3", "p4", "p5"}
    assert sorted(folds.values()) == [0, 0, 0, 1, 1]
    assert folds == fold_of(["p5", "p4", "p3", "p2", "p1"], 2)


def test_the_steepness_is_that_of_the_errors():
    random = np.random.default_rng(3)
    own = np.exp(random.normal(0, 0.5, 4000))
    is_not_parallel = random.random(4000) < expit(6 * np.log(own))
    found = fit_steepness(own.tolist(), np.where(is_not_parallel, 1.2, 0.8).tolist())
    assert found == pytest.approx(6, rel=0.1)
    # As wide as high is neither.
    square = [1.0] * 400
    reference = np.where(is_not_parallel, 1.2, 0.8).tolist() + square
    assert fit_steepness([*own.tolist(), *[2.0] * 400], reference) == found
