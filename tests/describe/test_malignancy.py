"""The features of a lesion from the network's maps, and the answer that the head makes of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sonoseg.describe.malignancy import Malignancy, pool_maps, regions
from sonoseg.describe.malignancy_head import Judge, MalignancyHead, Rules

PLAIN = Rules()


def disc(height: int = 96, width: int = 96, radius: int = 12) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (rows - 40) ** 2 + (columns - 48) ** 2 <= radius**2


def head(rules: Rules = PLAIN, features: int = 6) -> MalignancyHead:
    random = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return random.normal(0, 1, shape).astype(np.float32)

    return MalignancyHead(
        numbers(features), np.abs(numbers(features)) + 0.1, numbers(4, features, 3),
        numbers(4, 3), numbers(4, 3), numbers(4), rules,
    )  # fmt: skip


def test_the_rim_is_around_the_lesion_and_the_tissue_behind_is_below_it():
    lesion, rim, behind = regions(disc(), 48)
    assert lesion.sum() * 4 == pytest.approx(disc().sum(), rel=0.01)
    assert lesion[20, 24] == 1 and rim[20, 24] == 0
    assert rim[20, 18] > 0.9 and rim[20, 30] > 0.9
    rows, columns = np.nonzero(behind)
    assert rows.min() > 20 and (lesion[rows, columns] < 0.5).all()
    assert columns.min() >= 17 and columns.max() <= 31


def test_each_channel_is_averaged_over_each_region():
    mask = disc()
    down = np.repeat(np.arange(12, dtype=np.float32)[:, None], 12, 1)
    fine = np.full((2, 24, 24), 3, np.float32)
    pooled = pool_maps([fine, down[None]], mask)
    assert pooled.shape == (9,)
    assert pooled[:6] == pytest.approx(3, abs=0.02)
    lesion, rim, behind = pooled[6:]
    assert lesion == pytest.approx(40 / 8 - 0.5, abs=0.1)
    assert rim == pytest.approx(lesion, abs=0.1)
    assert behind > lesion + 1


def test_a_lesion_at_the_lower_edge_has_no_tissue_behind_it():
    mask = np.zeros((96, 96), bool)
    mask[80:, 30:60] = True
    pooled = pool_maps([np.ones((1, 12, 12), np.float32)], mask)
    assert pooled == pytest.approx([1, 1, 0], abs=0.01)


@pytest.mark.parametrize("place", [(0, 0), (95, 95), (50, 3)])
def test_a_lesion_of_one_pixel_has_finite_features(place):
    mask = np.zeros((96, 96), bool)
    mask[place] = True
    assert np.isfinite(pool_maps([np.ones((1, 12, 12), np.float32)], mask)).all()


def test_the_logits_are_those_of_small_networks_one_by_one():
    own = head()
    vectors = np.random.default_rng(1).normal(0, 2, (5, 6)).astype(np.float32)
    found = own.logits(vectors)
    scaled = np.clip((vectors - own.mean) / own.deviation, -5, 5)
    for number in range(4):
        hidden = np.maximum(scaled @ own.hidden[number] + own.hidden_bias[number], 0)
        expected = hidden @ own.out[number] + own.out_bias[number]
        assert found[:, number] == pytest.approx(expected, abs=1e-4)
    probability = own.probabilities(found)
    assert (
        (probability[:, 1] <= probability[:, 0])
        & (probability[:, 0] <= probability[:, 2])
    ).all()


def judged(
    rules: Rules, outline: float = 0.9, unfamiliarity: float | None = 0.5
) -> Malignancy:
    maps = np.random.default_rng(0).random((2, 12, 12)).astype(np.float32)
    return Judge(head(rules), (maps,), unfamiliarity)(disc(), outline)


def test_an_answer_is_withheld_for_three_reasons():
    free = judged(Rules())
    assert free.withheld is None
    assert free.to_dict()["probability"] == round(free.probability, 4)
    assert "unlike" in str(judged(Rules(), unfamiliarity=1.2).withheld)
    assert "outline" in str(judged(Rules(least_outline=0.95)).withheld)
    near = judged(Rules(balanced=free.probability, band=0.1))
    threshold = f"({free.probability:.2g})"
    assert f"too near the threshold {threshold}" in str(near.withheld)
    assert near.to_dict() == {
        "probability": None,
        "interval": None,
        "withheld": near.withheld,
    }


def test_a_head_survives_its_bundle_text():
    own = head(
        Rules(
            slope=1.5,
            offset=-0.2,
            balanced=0.4,
            sensitive=0.1,
            band=0.7,
            least_outline=0.8,
        )
    )
    again = MalignancyHead.from_text(own.to_text())
    assert again.rules == own.rules
    vectors = np.random.default_rng(1).normal(0, 2, (5, 6)).astype(np.float32)
    assert again.logits(vectors) == pytest.approx(own.logits(vectors), abs=0.05)


def without(text: str, *path: str) -> str:
    stored = json.loads(text)
    inner = stored
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return json.dumps(stored)


def test_hostile_text_is_refused():
    text = head().to_text()
    nan = json.loads(text)
    nan["rules"]["slope"] = float("nan")
    wide = json.loads(text)
    wide["arrays"]["mean"]["shape"] = [7]
    for bad in (
        "", "{}", "[]", "null", "[" * 5000, without(text, "rules", "band"), without(text, "arrays", "out"),
        without(text, "arrays", "mean", "data"), json.dumps(nan), json.dumps(wide),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="malignancy"):
            MalignancyHead.from_text(bad)
