"""Border distances: against MONAI on random blobs and real masks, and by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from sonoseg.core.resize import resize_mask
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.evaluate.surface import (
    Surface,
    border_distances,
    describe_surface,
    measure_surface,
    pixel_size,
    surface_summary,
)


def blob(seed: int, level: float = 0.03) -> NDArray[np.bool_]:
    """Random shapes, (60, 80), some cut by the image's edge."""
    smooth = gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 5)
    return np.asarray(smooth > level)


def monais(
    prediction: NDArray[np.bool_], truth: NDArray[np.bool_], pixel: tuple[float, float]
) -> tuple[float, float]:
    masks = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, truth)]
    options = {"include_background": True, "spacing": list(pixel)}
    hd95 = compute_hausdorff_distance(*masks, percentile=95, **options)
    assd = compute_average_surface_distance(*masks, symmetric=True, **options)
    return float(hd95), float(assd)


@pytest.mark.parametrize("pixel", [(1.0, 1.0), (0.3, 0.07)])
@pytest.mark.parametrize("seed", range(8))
def test_blobs_measure_as_with_monai(seed: int, pixel: tuple[float, float]) -> None:
    prediction, truth = blob(seed), blob(seed + 100, 0.06)
    assert border_distances(prediction, truth, pixel) == pytest.approx(
        monais(prediction, truth, pixel), rel=1e-5
    )


def test_real_masks_measure_as_with_monai(real_data: Path) -> None:
    cases = [case for case in load_cases(real_data / "busi") if case.label != "normal"][
        ::60
    ]
    truths = [resize_mask(case.read_mask(), (224, 224)) for case in cases]
    for prediction, truth in pairwise(truths):
        expected = monais(prediction, truth, (1.0, 1.0))
        assert border_distances(prediction, truth) == pytest.approx(expected, rel=1e-5)


def test_a_shifted_square_is_as_far_as_it_was_shifted() -> None:
    truth, prediction = np.zeros((2, 50, 50), dtype=np.bool_)
    truth[10:20, 10:20] = prediction[10:20, 13:23] = True
    surface = measure_surface(prediction, truth, (0.2, 0.1))
    assert surface.hd95 == 3 and surface.hd95_mm == pytest.approx(0.3)
    assert 0 < (surface.assd or 0) < 3
    assert measure_surface(truth, truth) == Surface(False, 0.0, 0.0)


def test_what_has_no_border_has_no_distance_and_is_counted() -> None:
    empty, mask = np.zeros((9, 9), dtype=np.bool_), np.ones((9, 9), dtype=np.bool_)
    assert measure_surface(empty, mask) == Surface(missed=True)
    assert (
        measure_surface(mask, empty)
        == measure_surface(empty, empty)
        == Surface(missed=False)
    )
    table = surface_summary([Surface(True), Surface(False)], ["a", "b"], (9, 9))
    assert (
        table["images"],
        table["missed"],
        table["hd95"],
        table["hd95_interval"],
    ) == (
        0,
        1,
        None,
        None,
    )
    assert (
        describe_surface(table)
        == "border distance: no image has both borders; nothing drawn on 1 with a lesion"
    )


def test_the_summary_leaves_out_what_is_undefined() -> None:
    surfaces = [
        Surface(False, 2.0, 1.0, 0.2, 0.1),
        Surface(True),
        Surface(False, 5.0, 2.0),
        Surface(False, 8.0, 6.0),
    ]
    table = surface_summary(surfaces, ["a", "b", "c", "d"], (224, 224))
    assert (table["images"], table["missed"], table["images_mm"]) == (3, 1, 1)
    assert (table["hd95"], table["hd95_median"], table["assd"], table["hd95_mm"]) == (
        5,
        5,
        3,
        0.2,
    )
    assert 2 <= table["hd95_interval"][0] <= 5 <= table["hd95_interval"][1] <= 8
    assert table["unit"] == "pixels of the 224 × 224 grid"
    assert "over 3 images: HD95 5.00" in describe_surface(
        table
    ) and "0.20 and 0.10 mm over 1" in describe_surface(table)


def test_a_pixel_of_the_grid_is_as_large_as_what_it_stands_for() -> None:
    case = Case("a.png", Path("a.png"), (), "benign", "a", spacing=0.1)
    assert pixel_size(case, (448, 672), (224, 224)) == pytest.approx((0.2, 0.3))
    flat = Case("a.png", Path("a.png"), (), "benign", "a", spacing=(0.05, 0.1))
    assert pixel_size(flat, (448, 672), (224, 224)) == pytest.approx((0.1, 0.3))
    assert (
        pixel_size(
            Case("a.png", Path("a.png"), (), "benign", "a"), (448, 672), (224, 224)
        )
        is None
    )
