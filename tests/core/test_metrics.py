"""Metrics: by hand for every convention, and image by image against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score

from sonoseg.core.counts import Counts, count, stack
from sonoseg.core.metrics import (
    CONVENTIONS,
    METRICS,
    image_scores,
    normals_summary,
    summary,
)


def make_counts(*rows: tuple[int, int, int, int]) -> Counts:
    return Counts(
        *(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))
    )


# A lesion half found, a lesion missed, a normal image left empty, a normal image drawn on.
FOUR = make_counts((5, 5, 5, 85), (0, 0, 10, 90), (0, 0, 0, 100), (0, 20, 0, 80))


def test_the_paper_convention_counts_every_undefined_ratio_as_zero() -> None:
    scores = image_scores(FOUR, "paper")
    assert scores["precision"].tolist() == [0.5, 0, 0, 0]
    assert scores["recall"].tolist() == [0.5, 0, 0, 0]
    assert scores["dice"].tolist() == [0.5, 0, 0, 0]
    assert scores["iou"].tolist() == pytest.approx([1 / 3, 0, 0, 0])


def test_the_lesion_convention_leaves_the_normal_images_out() -> None:
    scores = image_scores(FOUR, "lesion")
    assert scores["precision"].tolist() == [0.5, 0]
    assert scores["dice"].tolist() == [0.5, 0]


def test_the_all_convention_gives_one_for_empty_on_empty_alone() -> None:
    scores = image_scores(FOUR, "all")
    for metric in METRICS:
        assert scores[metric].tolist()[1:] == [0, 1, 0], metric


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    scores = image_scores(
        make_counts((7, 3, 11, 50), (1, 0, 60, 9), (30, 40, 0, 1)), "lesion"
    )
    precision, recall = scores["precision"], scores["recall"]
    np.testing.assert_allclose(
        scores["f1"], 2 * precision * recall / (precision + recall), rtol=1e-12
    )


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_metric_agrees_with_scikit_learn_image_by_image(convention: str) -> None:
    random = np.random.default_rng(0)
    shares = [(0, 0), (0, 0.2), (0.2, 0), (1, 1), *random.random((12, 2))]
    pairs = [
        (random.random((24, 31)) < a, random.random((24, 31)) < b) for a, b in shares
    ]
    counts = stack(count(prediction, truth) for truth, prediction in pairs)
    scores = image_scores(counts, convention)
    kept = [pair for pair in pairs if convention != "lesion" or pair[0].any()]
    for row, (truth, prediction) in enumerate(kept):
        # scikit-learn calls 0/0 what it is told to: 0, or 1 where both masks are empty under `all`.
        empty = (
            1.0
            if convention == "all" and not truth.any() and not prediction.any()
            else 0.0
        )
        oracles = {
            "precision": precision_score,
            "recall": recall_score,
            "f1": f1_score,
            "iou": jaccard_score,
        }
        for metric, oracle in oracles.items():
            expected = oracle(truth.ravel(), prediction.ravel(), zero_division=empty)
            assert scores[metric][row] == pytest.approx(expected, abs=1e-12), (
                metric,
                row,
            )


def test_an_all_foreground_answer_cannot_beat_the_share_of_lesions_under_paper() -> (
    None
):
    counts = make_counts(*[(10, 90, 0, 0)] * 3, (0, 100, 0, 0))
    means = summary(counts)["paper"]
    assert means["recall"] == pytest.approx(0.75)
    assert means["precision"] == means["iou"] == pytest.approx(0.075)


def test_summary_gives_each_metric_a_plain_mean_and_an_interval_around_it() -> None:
    random = np.random.default_rng(5)
    counts = Counts(*(random.integers(1, 500, 40) for _ in range(4)))
    table = summary(counts)
    assert list(table) == list(CONVENTIONS)
    for convention in CONVENTIONS:
        assert set(table[convention]) == {
            *METRICS,
            *(f"{metric}_interval" for metric in METRICS),
        }
        for metric in METRICS:
            low, high = table[convention][f"{metric}_interval"]
            assert 0 <= low < table[convention][metric] < high <= 1
            mean = image_scores(counts, convention)[metric].mean()
            assert table[convention][metric] == pytest.approx(mean)


def test_summary_without_any_lesion_has_no_lesion_scores_and_no_nan() -> None:
    table = summary(make_counts((0, 0, 0, 9), (0, 4, 0, 5)))
    assert table["lesion"]["dice"] is None and table["lesion"]["dice_interval"] is None
    assert table["all"]["dice"] == 0.5 and table["paper"]["dice"] == 0


def test_grouped_images_widen_the_interval() -> None:
    random = np.random.default_rng(1)
    hits = np.repeat(random.integers(0, 2, 12), 10) * 50
    counts = Counts(hits, np.zeros(120, np.int64), 50 - hits, np.full(120, 50))
    groups = [f"patient {row // 10}" for row in range(120)]
    alone, together = summary(counts), summary(counts, groups)
    width = [
        high - low
        for low, high in (t["lesion"]["dice_interval"] for t in (alone, together))
    ]
    assert width[1] > 2 * width[0]


def test_normals_tell_a_stray_pixel_from_a_false_lesion() -> None:
    counts = make_counts(
        (10, 90, 0, 9900),
        (0, 0, 0, 10000),
        (0, 9, 0, 9991),
        (0, 30, 0, 9970),
        (0, 30, 0, 9970),
    )
    largest = np.array(
        [0.009, 0, 0.0009, 0.0010, 0.0005]
    )  # the last: thirty pixels, scattered
    normals = normals_summary(counts, largest)
    assert normals["images"] == 4
    assert normals["any_false_positive"] == 0.75
    assert normals["false_lesion"] == 0.25
    assert "0.1%" in normals["false_lesion_means"]


def test_normals_are_none_where_every_image_has_a_lesion() -> None:
    normals = normals_summary(make_counts((1, 2, 3, 4)), np.zeros(1))
    assert (
        normals["images"] == 0
        and normals["false_lesion"] is None
        and normals["any_false_positive"] is None
    )


def test_an_unknown_convention_is_named_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"papers.*paper, lesion, all"):
        image_scores(FOUR, "papers")
