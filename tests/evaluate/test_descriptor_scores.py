"""Scores of four lesions that can be counted by hand."""

import dataclasses
from pathlib import Path

import pytest

from sonoseg.data.case import Case
from sonoseg.data.clinical import Words
from sonoseg.describe.descriptors import CANNOT_SAY, Descriptor, Descriptors
from sonoseg.evaluate.descriptor_scores import margin_of, score
from sonoseg.evaluate.known_lesions import KnownLesion

ECHO = Descriptor("hypoechoic", {"hypoechoic": 0.8, "isoechoic": 0.2})


def lesion(number, shape, margin, heights):
    """A patient's lesion; `heights` by width on the reference mask and on the network's outline."""
    case = Case(f"{number}.png", Path("x"), (Path("y"),), "benign", f"p{number}")
    features = {"reference": {"shape.height_to_width": heights[0]}}
    if len(heights) > 1:
        features["own"] = {"shape.height_to_width": heights[1]}
    return KnownLesion(case, Words(shape, margin, "hypoechoic", "none"), features, 0.5)


def found(oval, circumscribed, spiculated, behind=CANNOT_SAY):
    shape = {"oval": oval, "round": 0.0, "irregular": 1 - oval}
    kinds = dict.fromkeys(("indistinct", "angular", "microlobulated"), 0.1)
    margin = {"circumscribed": circumscribed, **kinds, "spiculated": spiculated}
    parallel = {"parallel": 0.7, "not parallel": 0.3}
    return Descriptors(
        Descriptor("oval" if oval >= 0.5 else None, shape),
        Descriptor("parallel", parallel),
        Descriptor(None, margin),
        ECHO,
        behind,
    )


LESIONS = [
    lesion(0, "oval", ("circumscribed",), (0.6, 0.7)),
    lesion(1, "oval", ("circumscribed",), (0.8, 1.2)),
    lesion(2, "irregular", ("spiculated", "angular"), (1.3, 1.4)),
    lesion(3, "irregular", ("indistinct",), (0.9,)),
]
SEEN = Descriptor("none", {"none": 0.9, "shadowing": 0.1})
FOUND = [
    {outline: found(0.9, 0.8, 0.1, SEEN) for outline in LESIONS[0].features},
    {outline: found(0.4, 0.7, 0.1, SEEN) for outline in LESIONS[1].features},
    {outline: found(0.3, 0.2, 0.6) for outline in LESIONS[2].features},
    {outline: found(0.6, 0.6, 0.2) for outline in LESIONS[3].features},
]


def test_agreement_counts_lesions_with_the_outline():
    scores = score(LESIONS, FOUND)["descriptors"]
    assert scores["shape"]["reference"]["agreement"] == 0.5  # 0 and 2 of four
    assert scores["shape"]["own"]["lesions"] == 3
    assert scores["shape"]["own"]["agreement"] == pytest.approx(2 / 3, abs=1e-4)
    assert scores["margin"]["reference"]["agreement"] == 0.75
    assert scores["echo pattern"]["own"]["agreement"] == 1


def test_what_is_not_said_does_not_count_as_said():
    scores = score(LESIONS, FOUND)["descriptors"]["shape"]["reference"]
    assert scores["said"] == 0.5  # two words of four are None
    assert scores["agreement_when_said"] == 0.5


def test_what_cannot_be_judged_is_left_out():
    scores = score(LESIONS, FOUND)["descriptors"]["posterior features"]
    assert scores["reference"]["lesions"] == 2


def test_orientation_is_compared_with_the_reference_mask():
    scores = score(LESIONS, FOUND)["descriptors"]["orientation"]
    assert set(scores) == {"own", "auto_birads_agreement"}
    assert scores["own"]["agreement"] == pytest.approx(2 / 3, abs=1e-4)


def test_the_kind_of_a_margin_is_right_if_the_radiologist_uses_it():
    kinds = score(LESIONS, FOUND)["margin_kinds"]["reference"]
    assert kinds["lesions"] == 2
    assert kinds["named_by_radiologist"] == 0.5  # spiculated for both
    assert kinds["most_frequent"] == 0.5
    assert kinds["kinds"]["spiculated"] == {"lesions": 1, "auc": 1.0}
    assert kinds["kinds"]["microlobulated"]["auc"] is None


def test_a_margin_is_circumscribed_or_not_or_not_known():
    assert margin_of(LESIONS[0]) == "circumscribed"
    assert margin_of(LESIONS[2]) == "not circumscribed"
    assert margin_of(lesion(4, "oval", (), (1.0,))) is None


def test_what_cannot_be_compared_has_no_scores():
    """No radiologist says a word of the margin, and the network outlines nothing."""
    lesions, descriptors = [], []
    for number, one in enumerate(FOUND):
        lesions.append(lesion(number, "oval", (), (0.6,)))
        descriptors.append({"reference": one["reference"]})
    scores = score(lesions, descriptors)["descriptors"]
    assert scores["shape"].keys() == {"reference", "auto_birads_agreement"}
    assert scores["margin"].keys() == {"auto_birads_agreement"}


def test_a_margin_that_cannot_be_judged_is_not_counted():
    unseen = dataclasses.replace(FOUND[2]["reference"], margin=CANNOT_SAY)
    one = {"reference": unseen, "own": unseen}
    scores = score(LESIONS, [*FOUND[:2], one, FOUND[3]])
    assert scores["descriptors"]["margin"]["reference"]["lesions"] == 3
    assert scores["margin_kinds"]["reference"]["lesions"] == 1


def test_a_lesion_as_wide_as_high_has_no_true_orientation():
    square = lesion(4, "oval", ("circumscribed",), (1.0, 0.9))
    scores = score([*LESIONS, square], [*FOUND, FOUND[0]])["descriptors"]
    assert scores["orientation"]["own"]["lesions"] == 3
    assert scores["shape"]["own"]["lesions"] == 4
