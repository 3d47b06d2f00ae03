"""A result as JSON says its unit and where the spacing came from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sonoseg.reader.segmenter import load
from sonoseg.serve.lexicon import DESCRIPTORS


def test_lengths_are_in_pixels_without_a_spacing_and_in_mm_with_one(
    bundle: Path, scan: NDArray[np.uint8]
) -> None:
    pixels = load(bundle).segment(scan).to_dict()
    millimetres = load(bundle).segment(scan, spacing=0.25).to_dict()
    assert (pixels["width"], pixels["height"]) == (420, 300)
    assert (pixels["unit"], pixels["spacing"]) == ("px", None)
    assert millimetres["unit"] == "mm"
    assert millimetres["spacing"] == {
        "mm_per_pixel": [0.25, 0.25],
        "source": "given by the user",
    }
    for one, other in zip(pixels["lesions"], millimetres["lesions"], strict=True):
        assert other["area"] == pytest.approx(one["area"] / 16, rel=1e-4)
        assert other["longest_diameter"] == pytest.approx(
            one["longest_diameter"] / 4, rel=1e-3
        )
        assert one["box"] == other["box"]


def test_a_result_is_plain_json(bundle: Path, scan: NDArray[np.uint8]) -> None:
    result = load(bundle).segment(scan)
    entry = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert entry == result.to_dict()
    assert len(entry["lesions"]) == 2
    assert set(entry["lesions"][0]) == {
        "area",
        "longest_diameter",
        "perpendicular_diameter",
        "mean_probability",
        "box",
        "centre",
        "longest_diameter_ends",
        "perpendicular_diameter_ends",
        "descriptors",
    }
    assert set(entry["lesions"][0]["descriptors"]) == set(DESCRIPTORS)
    (lesion, _) = result.to_dict(described=False)["lesions"]
    assert "descriptors" not in lesion
