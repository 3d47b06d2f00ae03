"""Answers by logistic regression, against scikit-learn's arithmetic; and what is part of the package."""

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from tests.describe.drawn import ellipse, picture, tissue

from sonoseg.describe.features import measure_features
from sonoseg.describe.questions import QUESTIONS, Regression, columns, fitted
from sonoseg.serve.lexicon import DESCRIPTORS


def regression():
    return Regression(
        words=("a", "b", "c"),
        features=("one", "two"),
        mean=(1.0, -2.0),
        scale=(2.0, 0.5),
        weights=((0.3, -1.0), (0.0, 0.4), (-2.0, 1.5)),
        bias=(0.1, 0.0, -0.7),
    )


def test_probabilities_are_those_of_scikit_learn():
    known = regression()
    other = LogisticRegression()
    other.classes_ = np.array(known.words)
    other.coef_, other.intercept_ = np.array(known.weights), np.array(known.bias)
    lesions = [{"one": 3.1, "two": -2.2}, {"one": -0.4, "two": 0.9}]
    values = columns(lesions, known.features)
    expected = other.predict_proba((values - known.mean) / np.array(known.scale))
    assert known.rows(values) == pytest.approx(expected)
    for lesion, row in zip(lesions, expected, strict=True):
        assert list(known.probabilities(lesion).values()) == pytest.approx(row)


def test_a_missing_feature_counts_as_its_mean():
    known = regression()
    missing = known.probabilities({"one": math.nan, "two": 0.0})
    assert missing == pytest.approx(known.probabilities({"one": 1.0, "two": 0.0}))
    (row,) = known.rows(np.array([[math.nan, 0.0]]))
    assert list(missing.values()) == pytest.approx(row)


def test_the_package_has_an_answer_to_each_question():
    features = measure_features(picture(tissue()), ellipse(40, 30)).to_dict()
    known = fitted()
    assert set(known.regressions) == set(QUESTIONS)
    for name, question in QUESTIONS.items():
        regression = known.regressions[name]
        assert (regression.words, regression.features) == (
            question.words,
            question.features,
        )
        assert sum(regression.probabilities(features).values()) == pytest.approx(1)
    assert known.steepness > 1 and known.smallest > 1
    assert set(known.not_said) <= set(DESCRIPTORS)


def test_json_and_back():
    known = regression()
    assert Regression.of_dict(known.to_dict()) == known
