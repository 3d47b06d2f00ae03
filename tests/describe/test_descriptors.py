"""Words for lesions that nobody would call otherwise."""

import dataclasses

import numpy as np
import pytest
from tests.describe.drawn import CENTRE, ellipse, picture, star, tissue, xs, ys

from sonoseg.describe.descriptors import CANNOT_SAY, LEAST, find_descriptors
from sonoseg.describe.features import measure_features
from sonoseg.describe.questions import fitted
from sonoseg.serve.lexicon import DESCRIPTORS


def described(mask, gray=None, known=None):
    gray = np.where(mask, tissue(50), tissue(120, seed=1)) if gray is None else gray
    features = measure_features(picture(gray), mask).to_dict()
    return find_descriptors(features, known)


def test_a_wide_ellipse_is_oval_parallel_and_circumscribed():
    found = described(ellipse(55, 30))
    assert found.shape.word == "oval"
    assert found.orientation.word == "parallel"
    assert found.margin.word == "circumscribed"


def test_an_ellipse_with_a_hole_stays_oval():
    mask = ellipse(60, 40)
    gray = np.where(mask, tissue(50), tissue(120, seed=1))
    whole, hollow = described(mask, gray), described(mask & ~ellipse(25, 25), gray)
    assert hollow.shape == whole.shape and whole.shape.word == "oval"
    assert hollow.margin == whole.margin
    assert hollow.posterior_features.word == whole.posterior_features.word


def test_a_tall_ellipse_is_not_parallel():
    found = described(ellipse(28, 50))
    assert found.orientation.word == "not parallel"
    assert found.orientation.probabilities["not parallel"] > 0.9


@pytest.mark.parametrize(
    ("width", "height", "word"),
    [
        (98, 96, "parallel"),
        (96, 98, "not parallel"),
        (97, 97, None),
        (180, 179, "parallel"),
        (37, 38, "not parallel"),
    ],
)
@pytest.mark.parametrize("spacing", [None, (0.1, 0.1), (0.3, 0.1), (0.07, 0.21)])
def test_the_orientation_is_that_of_the_rectangle(width, height, word, spacing):
    row, column = spacing or (1, 1)
    rows, columns = (
        round(height * max(column / row, 1)),
        round(width * max(row / column, 1)),
    )
    mask = np.zeros((rows + 80, columns + 80), bool)
    mask[40 : 40 + rows, 40 : 40 + columns] = True
    features = measure_features(np.where(mask, 40, 100).astype(np.uint8), mask, spacing)
    assert find_descriptors(features.to_dict()).orientation.word == word


def test_a_circle_is_rounder_than_an_ellipse():
    round_one = described(ellipse(45, 45)).shape.probabilities
    oval = described(ellipse(60, 35)).shape.probabilities
    assert round_one["round"] > 5 * oval["round"]
    assert described(ellipse(45, 45)).orientation.probabilities[
        "parallel"
    ] == pytest.approx(0.5, abs=0.06)


def test_a_star_is_irregular_and_not_circumscribed():
    found = described(star())
    assert found.shape.word == "irregular"
    assert found.margin.probabilities["circumscribed"] < 0.2


@pytest.mark.parametrize(
    ("change", "word"), [(-60, "shadowing"), (70, "enhancement"), (0, "none")]
)
def test_what_is_behind_has_its_word(change, word):
    mask = ellipse(50, 30)
    below = (ys > CENTRE[1] + 31) & (np.abs(xs - CENTRE[0]) < 50)
    gray = np.where(mask, tissue(45), tissue(120, seed=1)) + np.where(below, change, 0)
    assert described(mask, gray).posterior_features.word == word


def test_darker_lesions_are_called_hypoechoic_rather_than_hyperechoic():
    mask = ellipse(50, 30)
    dark = described(mask).echo_pattern.probabilities
    bright = described(
        mask, np.where(mask, tissue(220), tissue(110, seed=1))
    ).echo_pattern.probabilities
    assert dark["hypoechoic"] > bright["hypoechoic"]
    assert bright["hyperechoic"] > dark["hyperechoic"]


def test_where_the_image_ends_nothing_is_said_of_what_is_behind():
    cut = np.arange(240) < CENTRE[1] + 33
    gray = np.where(ellipse(50, 30), tissue(45), tissue(120, seed=1))[cut]
    found = described(ellipse(50, 30)[cut], gray)
    assert found.posterior_features == CANNOT_SAY
    assert found.shape.word == "oval"


@pytest.mark.parametrize("shape", [(240, 300), (300, 240)])
def test_without_surroundings_there_is_neither_margin_nor_echo_pattern(shape):
    gray = np.random.default_rng(0).normal(120, 12, shape)
    found = described(np.ones(shape, bool), gray)
    assert found.margin == found.echo_pattern == CANNOT_SAY
    assert found.shape.probabilities


def test_a_rim_that_is_seen_in_part_has_a_margin():
    cut = np.arange(240) < CENTRE[1]
    gray = np.where(ellipse(50, 30), tissue(45), tissue(120, seed=1))[cut]
    assert described(ellipse(50, 30)[cut], gray).margin.probabilities


def test_words_are_those_of_the_form_and_sum_to_one():
    for name, one in described(star()).named():
        assert set(one.probabilities) == set(DESCRIPTORS[name])
        if name != "margin":
            assert sum(one.probabilities.values()) == pytest.approx(1)
        if one.word is not None:
            assert one.probabilities[one.word] >= LEAST


def test_what_is_no_better_than_chance_is_not_said():
    silent = dataclasses.replace(fitted(), not_said=("shape",))
    spoken = dataclasses.replace(fitted(), not_said=())
    mask = ellipse(55, 30)
    assert described(mask, known=silent).shape.word is None
    assert described(mask, known=silent).shape.probabilities["oval"] > LEAST
    assert described(mask, known=spoken).shape.word == "oval"


def test_json_has_names_words_and_rounded_probabilities():
    entry = described(ellipse(55, 30)).to_dict()
    assert list(entry) == list(DESCRIPTORS)
    assert entry["orientation"]["word"] == "parallel"
    assert entry["shape"]["probabilities"]["oval"] == pytest.approx(
        described(ellipse(55, 30)).shape.probabilities["oval"], abs=6e-4
    )
