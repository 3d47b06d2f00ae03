"""Operating points: masks at a cut, crops beside the lesion, and the choice among points whose answer is known."""

import csv
import math

import numpy as np
import pytest
import torch

from sonoseg.deploy.operating_points import (
    CUTS,
    Point,
    beside_lesion,
    choose,
    describe_choice,
    kept_at,
    read_points,
    write_points,
)
from sonoseg.errors import InputError
from sonoseg.models.network import Output


def logit(probability):
    return math.log(probability / (1 - probability))


def test_a_lesion_is_kept_from_the_cut_on_and_its_outline_stays():
    pixels = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    alone = (pixels >= 0)[:, 0].numpy()
    output = Output(pixels, torch.tensor([[logit(0.2)], [logit(0.5)], [logit(0.9)]]))
    for cut, kept in {0.1: (1, 1, 1), 0.3: (0, 1, 1), 0.7: (0, 0, 1)}.items():
        masks = kept_at(output, cut)
        for mask, own, is_kept in zip(masks, alone, kept, strict=True):
            assert (mask == (own & bool(is_kept))).all()


def test_each_part_is_kept_by_the_presence_at_its_place():
    pixels = torch.full((1, 1, 8, 8), -1.0)
    pixels[..., :3, :3] = pixels[..., 5:, 5:] = 1
    presence = torch.full((1, 1, 2, 2), logit(0.8))
    presence[..., 1, 1] = logit(0.2)
    mask = kept_at(Output(pixels, presence), 0.5)[0]
    assert mask[:3, :3].all()
    assert not mask[5:, 5:].any()


def test_a_crop_shows_no_lesion_and_is_not_close_to_one():
    random = np.random.default_rng(0)
    found = 0
    for _ in range(200):
        mask = np.zeros((90, 120), bool)
        y, x = random.integers(0, 80), random.integers(0, 110)
        height, width = random.integers(1, 50, 2)
        mask[y : y + height, x : x + width] = True
        crop = beside_lesion(mask)
        if crop is None:
            continue
        found += 1
        assert not mask[crop].any()
        assert mask[crop].shape[0] >= 0.3 * 90
        assert mask[crop].shape[1] >= 0.3 * 120
        rows, columns = np.nonzero(mask)
        apart = (
            crop[0].stop <= rows.min() - 2
            or crop[0].start >= rows.max() + 3
            or crop[1].stop <= columns.min() - 3
            or crop[1].start >= columns.max() + 4
        )
        assert apart
    assert found > 100
    assert beside_lesion(np.zeros((90, 120), bool)) is None
    assert beside_lesion(np.ones((90, 120), bool)) is None


def points(missed, false, source="here"):
    """One point for each cut, from functions of the cut."""
    found = []
    for cut in CUTS:
        found.append(Point(source, cut, 100, 0.8, missed(cut), 10, false(cut), 0, None))
    return found


def test_the_points_are_the_last_harmless_cut_the_trained_one_and_the_first_strict_one():
    here = points(
        lambda cut: 0.05 if cut <= 0.2 else 0.07, lambda cut: 0.0 if cut >= 0.8 else 0.3
    )
    assert choose(here) == {"high": 0.2, "balanced": 0.5, "specific": 0.8}


def test_the_strict_point_does_not_lose_too_many_lesions():
    here = points(lambda cut: 0.3 if cut > 0.65 else 0.0, lambda cut: 0.5)
    assert choose(here) == {"high": 0.5, "balanced": 0.5, "specific": 0.65}


def test_a_point_that_was_not_found_is_said():
    cuts = {"high": 0.1, "balanced": 0.5, "specific": 0.9}
    assert describe_choice({}, False) == []
    assert len(describe_choice(cuts, False)) == 1
    assert "give --abroad" in describe_choice(cuts | {"high": 0.5}, False)[1]
    same = describe_choice(cuts | {"high": 0.5}, True)[1]
    assert same == "high is the same as balanced"


def test_every_data_set_counts_alike():
    here = points(lambda cut: 0.0, lambda cut: 0.0)
    there = points(lambda cut: 0.03 if cut > 0.1 else 0.0, lambda cut: 0.0, "there")
    assert choose(here)["high"] == 0.5
    assert choose(here + there)["high"] == 0.1
    assert choose(here + here + there)["high"] == 0.5


def test_the_table_has_a_row_for_each_point(tmp_path):
    found = points(lambda cut: cut / 2, lambda cut: 1 - cut)
    write_points(tmp_path / "points.csv", found)
    with (tmp_path / "points.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["cut"]) for row in rows] == list(CUTS)
    assert float(rows[3]["missed"]) == CUTS[3] / 2
    assert rows[0]["source"] == "here"
    assert rows[0]["false_crops"] == ""


def test_the_table_is_read_as_it_was_written(tmp_path):
    found = points(lambda cut: round(cut / 2, 3), lambda cut: round(1 - cut, 3))
    write_points(tmp_path / "points.csv", found)
    assert read_points(tmp_path / "points.csv") == found


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("here,0.005,", "here,0.004,", "the cuts of here are not those"),
        ("here,0.005,100,0.8", "here,0.005,100,1.8", "dice is '1.8'"),
        ("here,0.005,100,", "here,0.005,-100,", "lesions is '-100'"),
        ("here,0.005,100,", "here,0.005,nan,", "lesions is 'nan'"),
        ("here,0.005,100,0.8", "here,0.005,100,nan", "dice is 'nan'"),
        ("missed", "lost", "missed"),
    ],
)
def test_a_table_that_calibrate_did_not_write_is_refused(tmp_path, old, new, problem):
    file = tmp_path / "points.csv"
    write_points(file, points(lambda cut: 0.1, lambda cut: 0.2))
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=problem):
        read_points(file)


def test_a_table_without_lesions_is_refused(tmp_path):
    file = tmp_path / "points.csv"
    found = [Point("here", cut, 0, None, None, 10, 0.1, 0, None) for cut in CUTS]
    write_points(file, found)
    with pytest.raises(InputError, match="no images with a lesion"):
        read_points(file)
