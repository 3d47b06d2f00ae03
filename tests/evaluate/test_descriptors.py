"""The command on synthetic images; features that tell everything or nothing; no patient is his own teacher."""

import csv
import dataclasses
import json

import numpy as np
import pytest
from tests.evaluate.breast_set import write_breast

from sonoseg.data.case import Case
from sonoseg.data.clinical import Words
from sonoseg.describe.questions import Fitted
from sonoseg.errors import InputError
from sonoseg.evaluate.descriptor_scores import YARDSTICK, score
from sonoseg.evaluate.descriptors import cross_validate, descriptors_command
from sonoseg.evaluate.known_lesions import KnownLesion, overlapping_part, read_lesions
from sonoseg.reader.segmenter import load


@pytest.fixture(scope="module")
def breast(tmp_path_factory):
    folder = tmp_path_factory.mktemp("breast")
    write_breast(folder, 12)
    return folder


@pytest.fixture(scope="module")
def lesions(breast):
    """The lesions of the phantoms, over and over as other patients; the turning tells the shape, nothing the echo."""
    random = np.random.default_rng(0)
    many = []
    for number in range(36):
        one = read_once(breast)[number % len(read_once(breast))]
        case = dataclasses.replace(one.case, name=f"{number}.png", group=f"p{number}")
        is_irregular = number % 2 == 0
        margin = ("spiculated",) if number % 3 == 0 else ("circumscribed",)
        echo = ("hypoechoic", "isoechoic")[random.integers(2)]
        words = Words("irregular" if is_irregular else "oval", margin, echo, "none")
        features = {}
        for outline, values in one.features.items():
            shift = (3.0 if is_irregular else 0.0) + random.normal(0, 0.3)
            features[outline] = {**values, "shape.turning": shift}
        many.append(KnownLesion(case, words, features, one.iou))
    return many


_read: list[KnownLesion] = []


def read_once(folder):
    if not _read:
        _read.extend(read_lesions(folder, load("default")))
    return _read


def test_the_command_writes_what_the_package_reads(breast, tmp_path, monkeypatch):
    names = ('left, "upper".png', "=1+1.png")

    def read_renamed(*given):
        lesions = read_lesions(*given)
        for number, name in enumerate(names):
            case = dataclasses.replace(lesions[number].case, name=name)
            lesions[number] = dataclasses.replace(lesions[number], case=case)
        return lesions

    monkeypatch.setattr("sonoseg.evaluate.descriptors.read_lesions", read_renamed)
    text = descriptors_command(breast, folds=2, out=tmp_path)
    known = Fitted.of_dict(json.loads((tmp_path / "descriptors.json").read_text()))
    assert known.steepness > 0 and known.smallest > 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["about"]["patients"] == 9
    assert set(metrics["descriptors"]) == set(YARDSTICK)
    assert "reference" not in metrics["descriptors"]["orientation"]
    outlined = metrics["about"]["outlined"]
    with (tmp_path / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 + outlined
    assert {row["file"] for row in rows} > {names[0], f"'{names[1]}"}
    assert all(None not in row and None not in row.values() for row in rows)
    assert {row["shape_radiologist"] for row in rows} <= {"oval", "round", "irregular"}
    assert "posterior features" in text


def test_a_table_without_a_kind_of_word_says_no_such_word(
    breast, tmp_path, monkeypatch
):
    def read_silent(*given):
        silent = []
        for lesion in read_lesions(*given):
            words = dataclasses.replace(lesion.words, posterior_features=None)
            silent.append(dataclasses.replace(lesion, words=words))
        return silent

    monkeypatch.setattr("sonoseg.evaluate.descriptors.read_lesions", read_silent)
    descriptors_command(breast, folds=2, out=tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    scores = metrics["descriptors"]["posterior features"]
    assert scores.keys() == {"auto_birads_agreement"}
    assert "posterior features" in metrics["not_said"]


def test_a_network_that_outlines_nothing_is_refused(breast, tmp_path, monkeypatch):
    def read_missed(*given):
        missed = []
        for lesion in read_lesions(*given):
            features = {"reference": lesion.features["reference"]}
            missed.append(dataclasses.replace(lesion, features=features))
        return missed

    monkeypatch.setattr("sonoseg.evaluate.descriptors.read_lesions", read_missed)
    with pytest.raises(InputError, match="default: outlines none of the 9 lesions"):
        descriptors_command(breast, folds=2, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_features_tell_is_found_and_nothing_else(lesions):
    scores = score(lesions, cross_validate(lesions, 4))["descriptors"]
    for outline in ("reference", "own"):
        assert scores["shape"][outline]["agreement"] > 0.95
        assert scores["echo pattern"][outline]["kappa"] < 0.5
    assert scores["orientation"]["own"]["agreement"] > 0.7


def test_a_patient_is_described_by_the_others(lesions):
    changed = list(lesions)
    other = dataclasses.replace(lesions[0].words, shape="oval")
    changed[0] = dataclasses.replace(lesions[0], words=other)
    one, again = cross_validate(lesions, 3), cross_validate(changed, 3)
    assert one[0]["reference"].shape == again[0]["reference"].shape
    rest = zip(one[1:], again[1:], strict=True)
    assert any(a["reference"] != b["reference"] for a, b in rest)


def test_the_part_that_overlaps_is_taken():
    reference = np.zeros((30, 40), bool)
    reference[10:20, 5:15] = True
    mask = np.zeros_like(reference)
    mask[0:25, 25:40] = True  # larger, but elsewhere
    assert not overlapping_part(mask, reference).any()
    mask[12:16, 8:20] = True
    assert overlapping_part(mask, reference).sum() == 4 * 12


def test_bad_input_is_refused_before_work(breast, tmp_path):
    with pytest.raises(InputError, match="folds"):
        descriptors_command(breast, folds=1, out=tmp_path / "out")
    with pytest.raises(InputError, match="no such file"):
        descriptors_command(tmp_path, out=tmp_path / "out")
    (breast / "clinical.csv").rename(tmp_path / "kept.csv")
    try:
        with pytest.raises(InputError, match="no such file"):
            descriptors_command(breast, out=tmp_path / "out")
    finally:
        (tmp_path / "kept.csv").rename(breast / "clinical.csv")
    assert not (tmp_path / "out").exists()


def test_a_lesion_is_a_case_with_words(breast):
    for lesion in read_once(breast):
        assert isinstance(lesion.case, Case) and lesion.words.shape
        assert 0 <= lesion.iou <= 1
        assert ("own" in lesion.features) == (lesion.iou > 0)
