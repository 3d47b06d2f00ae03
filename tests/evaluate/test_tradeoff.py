"""The trade-off between lesions found and false lesions, against evaluating at every threshold anew."""

from __future__ import annotations

import numpy as np
import pytest

from sonoseg.evaluate.tradeoff import THRESHOLDS, TradeOff


def test_every_point_is_what_its_threshold_alone_would_give() -> None:
    random = np.random.default_rng(0)
    maps = random.random((6, 30, 40)).astype(np.float32) ** 3
    truths = np.zeros((6, 30, 40), bool)
    truths[:4, 5:15, 10:30] = random.random((4, 10, 20)) < 0.8
    trade_off = TradeOff()
    for probability, truth in zip(maps, truths, strict=True):
        trade_off.add(probability, truth)
    points = trade_off.points()
    assert tuple(point.threshold for point in points) == THRESHOLDS
    for point in points:
        masks = maps >= point.threshold
        overlap = (masks & truths).sum((1, 2))[:4]
        dice = 2 * overlap / (masks.sum((1, 2)) + truths.sum((1, 2)))[:4]
        assert point.lesion_dice == pytest.approx(dice.mean())
        assert point.lesions_missed == np.mean(overlap == 0)
        assert point.false_lesions is not None


def test_what_is_too_small_is_dropped_and_specks_are_no_lesion() -> None:
    truth, probability = np.zeros((100, 100), bool), np.zeros((100, 100), np.float32)
    probability[:3, :3] = 0.9  # 9 of 10,000 pixels: under a thousandth
    probability[50:54, 50:54] = 0.6  # 16: over it
    for fraction, expected in ((0.0, 1.0), (0.002, 0.0)):
        trade_off = TradeOff(fraction)
        trade_off.add(probability, truth)
        by_threshold = {
            point.threshold: point.false_lesions for point in trade_off.points()
        }
        assert by_threshold[0.5] == expected
        assert by_threshold[0.7] == 0


def test_without_normal_images_or_lesions_there_is_no_such_mean() -> None:
    trade_off = TradeOff()
    assert {
        (p.lesion_dice, p.lesions_missed, p.false_lesions) for p in trade_off.points()
    } == {(None, None, None)}
    trade_off.add(np.ones((4, 4), np.float32), np.ones((4, 4), bool))
    assert {
        (p.lesion_dice, p.lesions_missed, p.false_lesions) for p in trade_off.points()
    } == {(1.0, 0.0, None)}
