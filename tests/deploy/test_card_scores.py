"""Which scores come onto a card."""

import json
from dataclasses import replace

import pytest
from tests.deploy.conftest import SCORES

from sonoseg.deploy.card_scores import with_scores
from sonoseg.errors import InputError
from sonoseg.reader.bundle import Bundle

WEIGHTS = "sha256:" + "12" * 32


@pytest.fixture(scope="module")
def card(bundles):
    card = Bundle.read(bundles / "whole.onnx").card
    return replace(card, scores={}, weights=WEIGHTS, temperature=1.5)


def scores_with(folder, **entries):
    path = folder / "metrics.json"
    path.write_text(json.dumps({**SCORES, "model": SCORES["model"] | entries}))
    return path


def test_scores_of_this_network_are_taken_without_a_word(card, tmp_path, caplog):
    path = scores_with(tmp_path, weights=WEIGHTS, temperature=1.5, name="another")
    assert with_scores(card, path, "r1").scores == json.loads(path.read_text())
    assert not caplog.records


@pytest.mark.parametrize(
    "entries",
    [
        {"weights": "sha256:" + "13" * 32, "temperature": 1.5},
        {"weights": "sha256:" + "13" * 32},
        {"weights": 3, "temperature": 1.5},
    ],
)
def test_scores_of_another_network_are_refused(card, tmp_path, entries):
    with pytest.raises(InputError, match="measured with another network than r1;"):
        with_scores(card, scores_with(tmp_path, **entries), "r1")


def test_scores_from_before_the_calibration_are_refused(card, tmp_path):
    path = scores_with(tmp_path, weights=WEIGHTS, temperature=1.0)
    with pytest.raises(InputError, match=r"before r1 was calibrated .* 1\.0, not 1\.5"):
        with_scores(card, path, "r1")


@pytest.mark.parametrize(
    "entries",
    [{}, {"weights": WEIGHTS}, {"temperature": 1.5}, {"weights": None}],
)
def test_scores_of_a_network_that_is_not_recorded_are_taken_with_a_warning(
    card, tmp_path, caplog, entries
):
    path = scores_with(tmp_path, **entries)
    assert with_scores(card, path, "r1").scores["images"] == 3
    (record,) = caplog.records
    assert "does not say with which network" in record.getMessage()
