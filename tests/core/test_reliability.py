"""Calibration error and temperature, against counting by hand and a search over every temperature."""

from __future__ import annotations

import numpy as np
import pytest

from sonoseg.core.reliability import negative_log_likelihood, reliability
from sonoseg.core.roc import PixelROC
from sonoseg.deploy.calibrate import fit_temperature


def counted(logits: np.ndarray, truth: np.ndarray) -> PixelROC:
    pixels = PixelROC()
    pixels.add(
        (1 / (1 + np.exp(-logits))).astype(np.float32).reshape(1, -1),
        truth.reshape(1, -1),
    )
    return pixels


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Logits that are twice too sure, and what was drawn from them."""
    random = np.random.default_rng(0)
    honest = random.normal(-1, 2, 60_000)
    truth = random.random(honest.size) < 1 / (1 + np.exp(-honest))
    return 2 * honest, truth


def test_the_temperature_of_logits_that_are_twice_too_sure_is_two(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    pixels = counted(*sample)
    temperature = fit_temperature(pixels)
    assert temperature == pytest.approx(2, rel=0.03)
    losses = {t: negative_log_likelihood(pixels, t) for t in np.arange(0.5, 6, 0.01)}
    assert min(losses, key=lambda t: losses[t]) == pytest.approx(temperature, abs=0.02)
    assert reliability(pixels, temperature).error < 0.01 < reliability(pixels).error


def test_the_error_is_what_counting_pixels_group_by_group_gives(
    sample: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, truth = sample
    probability = (1 / (1 + np.exp(-logits))).astype(np.float32)
    error = 0.0
    for low in np.arange(15) / 15:
        inside = (probability >= low) & (probability < low + 1 / 15)
        if inside.any():
            error += inside.mean() * abs(
                probability[inside].mean() - truth[inside].mean()
            )
    found = reliability(counted(logits, truth))
    assert found.error == pytest.approx(error, abs=5e-4)
    assert found.share.sum() == pytest.approx(1)
    assert negative_log_likelihood(counted(logits, truth)) == pytest.approx(
        -np.mean(np.log(np.where(truth, probability, 1 - probability) + 1e-12)),
        rel=1e-3,
    )


def test_an_answer_that_is_always_right_and_sure_has_no_error_and_a_single_colour_no_crash() -> (
    None
):
    truth = np.array([True, False, False])
    assert reliability(counted(np.where(truth, 40.0, -40.0), truth)).error < 1e-9
    assert reliability(counted(np.full(3, -40.0), np.zeros(3, bool))).error < 1e-9
    assert 0.05 <= fit_temperature(counted(np.full(3, -1.0), np.zeros(3, bool))) <= 20
