"""Reference masks on the grid of the evaluation, lesions that it does not show among them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonoseg.data.load import load_cases
from sonoseg.evaluate.truths import read_truths


def test_a_lesion_that_the_grid_does_not_show_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    for name, side in (("large", 100), ("none", 0), ("tiny", 2), ("tiny, too", 2)):
        mask = np.zeros((800, 1000), np.uint8)
        # Beside the pixels that nearest neighbour keeps.
        mask[0:side, 0:side] = 255
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}.png")
        Image.fromarray(np.zeros_like(mask)).save(tmp_path / "images" / f"{name}.png")
    cases = load_cases(tmp_path)
    truths = read_truths(cases, (224, 224), progress=False)
    assert [truth.any() for truth in truths] == [True, False, False, False]
    assert [truth.shape for truth in truths] == 4 * [(224, 224)]
    (told,) = caplog.messages
    where = "the grid of 224 × 224 pixels, first tiny, too.png"
    assert (
        told
        == f"the lesion of 2 images is too small for {where}: it counts as no lesion"
    )
    caplog.clear()
    read_truths(cases[:2], (224, 224), progress=False)
    assert caplog.messages == []


def test_a_label_that_contradicts_its_mask_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One image of each label without a lesion, and one with."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    labels = ["file,label"]
    for label in ("benign", "malignant", "normal", "unknown"):
        for lesion in (0, 255):
            name = f"{label}-{lesion}.png"
            mask = np.zeros((64, 64), np.uint8)
            mask[20:40, 20:40] = lesion
            Image.fromarray(mask).save(tmp_path / "masks" / name)
            Image.fromarray(np.zeros_like(mask)).save(tmp_path / "images" / name)
            labels.append(f"{name},{label}")
    (tmp_path / "labels.csv").write_text("\n".join(labels))
    cases = load_cases(tmp_path)
    read_truths(cases, (64, 64), progress=False)
    assert caplog.messages == [
        "the label of 3 images contradicts the mask, first benign-0.png: it is labelled benign, and its mask is empty; "
        "the mask counts"
    ]
    caplog.clear()
    read_truths([case for case in cases if case.label == "normal"], (64, 64), False)
    assert caplog.messages == [
        "the label of 1 image contradicts the mask, first normal-255.png: it is labelled normal, and its mask has a "
        "lesion; the mask counts"
    ]
