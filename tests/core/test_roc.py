"""The histogram ROC against scikit-learn's exact one."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from sonoseg.core.roc import PixelROC, thin


def pixels(kind: str) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(40, 50, 50) probabilities and truths of a kind that trips up coarse bins."""
    random = np.random.default_rng(0)
    truth = random.random((40, 50, 50)) < 0.08
    shift = {
        "weak": 0.5,
        "good": 3.0,
        "saturated": 8.0,
        "timid": 3.0,
        "rounded": 2.0,
        "ties": 1.0,
    }[kind]
    logit = random.normal(0, 1.5, truth.shape) + shift * truth
    if kind == "saturated":
        logit = 3 * logit - 14
    if (
        kind == "timid"
    ):  # nothing above 1e-4: equal steps of probability would tie it all
        logit = logit - 15
    probability = (1 / (1 + np.exp(-logit))).astype(np.float32)
    if kind == "rounded":
        probability = np.round(probability, 2)
    if kind == "ties":
        probability = np.where(probability > 0.5, np.float32(1), np.float32(0))
    return probability, truth


@pytest.mark.parametrize(
    "kind", ["weak", "good", "saturated", "timid", "rounded", "ties"]
)
def test_the_auc_agrees_with_scikit_learn(kind: str) -> None:
    probability, truth = pixels(kind)
    roc = PixelROC()
    for image, mask in zip(probability, truth, strict=True):
        roc.add(image, mask)
    assert roc.auc() == pytest.approx(
        roc_auc_score(truth.ravel(), probability.ravel()), abs=1e-5
    )


def test_the_curve_runs_through_scikit_learns_points() -> None:
    probability, truth = pixels("good")
    roc = PixelROC()
    roc.add(probability[0], truth[0])
    curve = roc.curve()
    assert curve is not None
    false, true, _ = roc_curve(
        truth[0].ravel(), probability[0].ravel(), drop_intermediate=False
    )
    at = np.linspace(0, 1, 200)
    ours = np.interp(at, curve.false_positive_rate, curve.true_positive_rate)
    np.testing.assert_allclose(ours, np.interp(at, false, true), atol=0.01)
    assert curve.false_positive_rate[-1] == curve.true_positive_rate[-1] == 1
    assert (np.diff(curve.threshold) < 0).all()


def test_a_point_of_the_curve_is_what_its_threshold_gives() -> None:
    probability, truth = pixels("good")
    roc = PixelROC()
    roc.add(probability[0], truth[0])
    curve = roc.curve()
    assert curve is not None
    for point in (5, len(curve.threshold) // 2, -2):
        drawn = probability[0] >= curve.threshold[point] - 1e-9
        assert drawn[truth[0]].mean() == pytest.approx(
            curve.true_positive_rate[point], abs=0.01
        )
        assert drawn[~truth[0]].mean() == pytest.approx(
            curve.false_positive_rate[point], abs=0.001
        )


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_answer_has_an_auc_of_one_half(value: float) -> None:
    roc = PixelROC()
    roc.add(np.full((8, 8), value, dtype=np.float32), np.eye(8, dtype=bool))
    assert roc.auc() == 0.5


def test_a_perfect_answer_has_an_auc_of_one() -> None:
    roc = PixelROC()
    roc.add(np.eye(8, dtype=np.float32), np.eye(8, dtype=bool))
    assert roc.auc() == 1


def test_images_of_one_kind_of_pixel_have_no_curve() -> None:
    roc = PixelROC()
    assert roc.auc() is None
    roc.add(np.full((8, 8), 0.3, dtype=np.float32), np.zeros((8, 8), dtype=bool))
    assert roc.curve() is None and roc.auc() is None


def test_thinning_keeps_the_ends_and_the_area() -> None:
    probability, truth = pixels("good")
    roc = PixelROC()
    for image, mask in zip(probability, truth, strict=True):
        roc.add(image, mask)
    curve = roc.curve()
    assert curve is not None
    few = thin(curve)
    assert len(few.threshold) <= 2001 < len(curve.threshold)
    area = np.trapezoid(few.true_positive_rate, few.false_positive_rate)
    assert area == pytest.approx(roc.auc(), abs=5e-4)
    for name in ("threshold", "false_positive_rate", "true_positive_rate"):
        kept, full = getattr(few, name), getattr(curve, name)
        assert (kept[0], kept[-1]) == (full[0], full[-1])


@pytest.mark.parametrize("bad", [float("nan"), -0.1, 1.5])
def test_a_probability_that_is_none_is_refused_before_it_is_counted(bad: float) -> None:
    roc = PixelROC()
    probability = np.full((4, 4), 0.5, dtype=np.float32)
    probability[2, 2] = bad
    with pytest.raises(ValueError, match="NaN or outside"):
        roc.add(probability, np.zeros((4, 4), dtype=bool))
    assert not roc.background.any()
    with pytest.raises(ValueError, match="one shape"):
        roc.add(np.zeros((4, 5), dtype=np.float32), np.zeros((4, 4), dtype=bool))
