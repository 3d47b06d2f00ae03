"""What benchmarks/levers.py counts on images of another hospital, and which crops it calls hard."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sonoseg.data.case import Case
from sonoseg.models.network import Output
from sonoseg.train.dataset import InMemory

SIZE = 64


class Bright(nn.Module):
    """Draws what is brighter than half; its presence head believes in what is very bright."""

    def outputs(self, image: Tensor) -> Output:
        return Output(20 * (image - 0.5), 20 * (image - 0.7))


class Plain(nn.Module):
    """The same without a presence head."""

    def outputs(self, image: Tensor) -> Output:
        return Output(20 * (image - 0.5))


@pytest.fixture(autouse=True)
def _beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))


@pytest.fixture
def lever_scores(_beside_each_other: None) -> ModuleType:
    sys.modules.pop("lever_scores", None)
    import lever_scores

    return lever_scores


@pytest.fixture
def hard(lever_scores: ModuleType) -> ModuleType:
    sys.modules.pop("hard_crops", None)
    import hard_crops

    return hard_crops


def save(folder: Path, name: str, spots: list[tuple[int, int]], true: int) -> Case:
    """An image with squares of 8 pixels at (column, gray level); the first `true` of them are lesions."""
    image, mask = np.zeros((2, SIZE, SIZE), np.uint8)
    for number, (column, level) in enumerate(spots):
        image[20:28, column : column + 8] = level
        mask[20:28, column : column + 8] = 255 * (number < true)
    Image.fromarray(image).save(folder / f"{name}.png")
    Image.fromarray(mask).save(folder / f"{name}_mask.png")
    return Case(
        name,
        folder / f"{name}.png",
        (folder / f"{name}_mask.png",),
        "unknown",
        f"patient {name}",
    )


@pytest.fixture
def images(tmp_path: Path) -> InMemory:
    """Four lesions, one of them missed and one with a false part; four normals, two of them with a part."""
    spots = [
        ([(10, 200)], 1),
        ([(10, 150), (40, 255)], 1),
        ([(10, 100)], 1),
        ([(10, 255)], 1),
        ([(10, 160)], 0),
        ([(10, 230)], 0),
        ([(10, 20)], 0),
        ([], 0),
    ]
    cases = [
        save(tmp_path, str(number), each, true)
        for number, (each, true) in enumerate(spots)
    ]
    return InMemory(cases, SIZE)


def test_pixels_alone_and_judged_at_the_limit_where_37_percent_of_normals_are_false(
    lever_scores: ModuleType, images: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert lever_scores.scores(Bright(), images)[0]["dice_judged"] is None  # too few
    monkeypatch.setattr(lever_scores, "FEWEST_NORMALS", 4)
    found, each = lever_scores.scores(Bright(), images)
    np.testing.assert_allclose(each, [1, 2 / 3, 0, 1], atol=1e-6)
    assert found["lesions"] == found["normals"] == 4
    assert found["dice"] == pytest.approx((1 + 2 / 3 + 0 + 1) / 4)
    assert found["missed"] == pytest.approx(1 / 4)
    # 64 of 4,096 pixels: all four are small.
    assert found["dice_small"] == found["dice"]
    assert found["false"] == pytest.approx(2 / 4)
    # The limit is that of the gray level 160, so one of four normals stays false: 150 is lost, the false part beside
    # it stays.
    assert found["dice_judged"] == pytest.approx((1 + 0 + 0 + 1) / 4)
    assert found["missed_judged"] == pytest.approx(2 / 4)


def test_without_a_presence_head_nothing_is_judged(
    lever_scores: ModuleType, images: InMemory
) -> None:
    found, each = lever_scores.scores(Plain(), images)
    assert found["dice_judged"] is None
    assert found["missed_judged"] is None
    np.testing.assert_allclose(each, [1, 2 / 3, 0, 1], atol=1e-6)


def test_hard_crops_are_the_surest_ones_show_no_lesion_and_keep_the_patient(
    hard: ModuleType, tmp_path: Path
) -> None:
    cases = [
        save(tmp_path, "clear", [(2, 250), (30, 30)], 1),
        save(tmp_path, "like a lesion", [(2, 250), (38, 250)], 1),
        save(tmp_path, "less like one", [(2, 250), (38, 180)], 1),
        save(tmp_path, "no room", [(28, 250)], 1),
    ]
    found = hard.hard_crops(Bright(), cases, SIZE, tmp_path / "crops", 2)
    assert [case.group for case in found] == [
        "patient like a lesion",
        "patient less like one",
    ]
    assert len(list((tmp_path / "crops").iterdir())) == 2
    for case, level in zip(found, (250, 180), strict=True):
        image, mask = case.read()
        assert image.shape == (SIZE, SIZE)
        assert not mask.any()
        assert case.label == "normal"
        assert abs(int(image.max()) - level) <= 2  # of the part, not of the lesion


def test_crops_beside_lesions_never_show_them(hard: ModuleType) -> None:
    torch.manual_seed(0)
    masks = torch.zeros(20, 1, SIZE, SIZE)
    for row, column in enumerate(torch.randint(0, SIZE - 30, (20,)).tolist()):
        masks[row, 0, 20:28, column : column + 30] = 1
    crop, possible = hard.beside_lesions(masks, masks)  # the lesions as the image
    assert possible.any()
    assert not possible.all()
    assert not crop[possible].any()
