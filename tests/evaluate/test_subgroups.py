"""Scores by label and by size of the lesion, against means taken here."""

from __future__ import annotations

import numpy as np
import pytest

from sonoseg.core.counts import Counts
from sonoseg.core.intervals import bootstrap_interval, share_interval
from sonoseg.evaluate.subgroups import describe_subgroups, subgroups

TP = np.array([80, 0, 300, 900, 0, 150])
FN = np.array([20, 100, 100, 0, 0, 50])
FP = np.array([10, 40, 0, 300, 70, 0])
COUNTS = Counts(tp=TP, fp=FP, fn=FN, tn=10_000 - TP - FN - FP)
"""Six images of 10,000 pixels; the lesions cover 1, 1, 4, 9, 0 and 2 %."""
LABELS = ["benign", "benign", "malignant", "malignant", "normal", "benign"]
GROUPS = ["a", "b", "c", "d", "e", "b"]
DICE = 2 * TP / np.maximum(2 * TP + FP + FN, 1)


@pytest.mark.parametrize(
    ("kind", "name", "rows"),
    [
        ("label", "benign", [0, 1, 5]),
        ("label", "malignant", [2, 3]),
        ("size", "under 2 %", [0, 1]),
        ("size", "2-8 %", [2, 5]),
        ("size", "8 % and more", [3]),
    ],
)
def test_each_kind_has_the_scores_of_its_images(
    kind: str, name: str, rows: list[int]
) -> None:
    found = subgroups(COUNTS, LABELS, GROUPS)[kind][name]
    groups = [GROUPS[row] for row in rows]
    assert found["images"] == len(rows)
    assert found["dice"] == pytest.approx(DICE[rows].mean())
    assert found["missed"] == pytest.approx((TP[rows] == 0).mean())
    interval = bootstrap_interval(DICE[rows], groups)
    assert found["dice_interval"] == (interval and pytest.approx(interval))
    share = share_interval(TP[rows] == 0, groups)
    assert found["missed_interval"] == (share and pytest.approx(share))


def test_images_without_lesion_are_in_no_kind() -> None:
    found = subgroups(COUNTS, LABELS, GROUPS)
    assert set(found["label"]) == {"benign", "malignant"}
    for kind in found.values():
        assert sum(scores["images"] for scores in kind.values()) == 5
    empty = subgroups(COUNTS[np.array([4])], ["normal"], ["e"])
    assert empty == {"label": {}, "size": {}}
    assert describe_subgroups(empty) == []


def test_the_table_leaves_out_what_tells_nothing_apart() -> None:
    text = "\n".join(describe_subgroups(subgroups(COUNTS, ["unknown"] * 6, GROUPS)))
    assert "unknown" not in text and "under 2 %" in text
    one = COUNTS[np.array([0, 1])]
    text = "\n".join(
        describe_subgroups(subgroups(one, ["benign", "malignant"], ["a", "b"]))
    )
    assert "malignant" in text and "under 2 %" not in text
    assert "100.0%" in text
