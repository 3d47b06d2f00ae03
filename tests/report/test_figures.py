"""The figures: that each is drawn whole, says what it must say, and takes awkward input."""

from __future__ import annotations

import itertools
import subprocess
import sys
import warnings
from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from PIL import Image

from sonoseg.reader.overlay import NOTICE
from sonoseg.report.evaluation_figures import (
    SizePanel,
    reliability_figure,
    roc_figure,
    sizes_figure,
)
from sonoseg.report.explanation_figures import explanation_panels, faithfulness_figure
from sonoseg.report.training_figures import grid_figure, learning_curves


@pytest.fixture(autouse=True)
def no_warnings() -> None:
    """Matplotlib warns about missing glyphs and degenerate axes: neither may be in our figures."""
    warnings.simplefilter("error")


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All texts of the figures saved during the test."""
    found: list[str] = []
    save = matplotlib.figure.Figure.savefig

    def spy(self: matplotlib.figure.Figure, *args: object, **options: object) -> None:
        save(self, *args, **options)
        found.extend(text.get_text() for text in self.findobj(matplotlib.text.Text))

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", spy)
    return found


def rows(count: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": float(epoch),
            "train_loss": 1 / epoch,
            "validation_loss": abs(epoch - 3) / 10 + 0.2,
            "validation_dice": 1 - 1 / epoch,
            "learning_rate": 1e-4,
        }
        for epoch in range(1, count + 1)
    ]


def panels(path: Path, shape: tuple[int, int] = (60, 80), **changes: object) -> None:
    mask = np.zeros(shape, dtype=bool)
    mask[shape[0] // 4 : shape[0] // 2, shape[1] // 4 : shape[1] // 2] = True
    arguments: dict[str, object] = {
        "image": np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        "truth": mask,
        "prediction": mask,
        "heat": mask.astype(np.float32),
        "layer": "stage2",
        "title": "scan.png · model-1",
    }
    explanation_panels(path, **(arguments | changes))  # type: ignore[arg-type]


def test_the_roc_figure_names_every_curve(tmp_path: Path, words: list[str]) -> None:
    at = np.linspace(0, 1, 50)
    labels = [f"model-{n} (AUC 0.9{n})" for n in range(8)]
    roc_figure(dict.fromkeys(labels, (at, at**0.2)), tmp_path / "roc.png")
    assert set(labels) <= set(words) and "chance" in words
    with Image.open(tmp_path / "roc.png") as picture:
        assert picture.format == "PNG"


def test_a_roc_figure_without_curves_is_still_drawn(tmp_path: Path) -> None:
    roc_figure({}, tmp_path / "roc.png")
    assert (tmp_path / "roc.png").stat().st_size > 1000


def test_the_reliability_figure_has_plain_numbers(
    tmp_path: Path, words: list[str]
) -> None:
    at = np.linspace(0.05, 0.95, 10)
    share = np.geomspace(0.9, 1e-4, 10)
    reliability_figure(at, at**2, share, 0.1, tmp_path / "reliability.png")
    assert {"1", "0.01", "0.0001"} <= set(words)
    assert not [word for word in words if "$" in word]


def test_the_picture_of_sizes_writes_bias_and_limits(
    tmp_path: Path, words: list[str]
) -> None:
    values = np.array([10.0, 20, 30])
    limits = {"bias": 1.0, "limits": [-2.5, 4.5]}
    panel = SizePanel("longest diameter", values, values / 10, "mm", "mm", limits)
    one = SizePanel(
        "area", values[:1], values[:1], "pixels", "%", limits | {"limits": None}
    )
    sizes_figure([panel, one], tmp_path / "sizes.png")
    assert {"bias +1.00", "lower limit −2.50", "upper limit +4.50"} <= set(words)
    assert {"longest diameter, 3 lesions", "area, 1 lesion"} <= set(words)
    assert "bias +1.0" in words and words.count("lower limit −2.50") == 1


def test_equal_limits_are_one_line_and_lesions_without_the_unit_are_counted(
    tmp_path: Path, words: list[str]
) -> None:
    limits = {"bias": 0.0, "limits": [0.0, 0.0]}
    values = np.array([10.0, 20])
    panel = SizePanel("area", values, 0 * values, "mm", "mm", limits, left_out=3)
    sizes_figure([panel], tmp_path / "sizes.png")
    assert "bias = lower limit = upper limit +0.00" in words
    assert "area, 2 of 5 lesions, those in mm" in words


def test_without_lesions_the_picture_of_sizes_says_so(
    tmp_path: Path, words: list[str]
) -> None:
    empty = np.array([])
    sizes_figure(
        [SizePanel("area", empty, empty, "mm", "mm", None)], tmp_path / "a.png"
    )
    assert "no lesion is outlined" in words


def test_learning_curves_mark_the_epoch_that_was_kept(
    tmp_path: Path, words: list[str]
) -> None:
    learning_curves(rows(6), 3, tmp_path / "curves.png")
    assert "kept: epoch 3" in words
    assert {"loss", "Dice", "learning rate", "training", "validation", "epoch"} <= set(
        words
    )


def test_learning_curves_take_one_epoch_and_losses_that_are_not_finite(
    tmp_path: Path, words: list[str]
) -> None:
    learning_curves(rows(1), 1, tmp_path / "one.png")
    broken = rows(4)
    broken[0]["validation_loss"] = float("nan")
    broken[1]["train_loss"] = float("inf")
    learning_curves(broken, 3, tmp_path / "broken.png")
    assert "kept: epoch 1" in words and "kept: epoch 3" in words


def test_the_panels_name_layer_and_image_and_carry_a_colour_scale(
    tmp_path: Path, words: list[str]
) -> None:
    panels(tmp_path / "panels.png", note="Dice 0.87")
    for text in (
        "original",
        "ground truth",
        "prediction, Dice 0.87",
        "Grad-CAM, layer: stage2",
        "0",
        "0.5",
        "1",
    ):
        assert text in words
    assert f"scan.png · model-1 · {NOTICE}" in words


def test_the_panels_say_when_there_is_no_truth_no_lesion_or_no_heat(
    tmp_path: Path, words: list[str]
) -> None:
    nothing = np.zeros((60, 80), dtype=bool)
    panels(tmp_path / "unknown.png", truth=None)
    assert "no ground truth" in words
    panels(
        tmp_path / "normal.png",
        truth=nothing,
        prediction=nothing,
        heat=nothing.astype(np.float32),
    )
    assert "ground truth: no lesion" in words and "prediction: no lesion" in words
    assert "Grad-CAM, layer: stage2 (zero everywhere)" in words


@pytest.mark.parametrize("shape", [(16, 16), (60, 150), (400, 40), (700, 900)])
def test_panels_of_any_shape_keep_the_pictures_inside(
    tmp_path: Path, shape: tuple[int, int]
) -> None:
    panels(tmp_path / "panels.png", shape, prediction=np.ones(shape, dtype=bool))
    pixels = np.asarray(Image.open(tmp_path / "panels.png").convert("L"))
    assert pixels.shape[1] == 1890 and pixels.std() > 10
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert (edge == 255).all()


GRIDS = {
    "the paper's": {
        "learning_rate": ["1e-05", "0.001"],
        "batch": ["8", "16", "32"],
        "dropout": ["0.2", "0.3", "0.4"],
    },
    "four axes, one of one value": {
        "batch": ["4", "8"],
        "ema": ["0"],
        "loss": ["bce", "dice"],
        "epochs": ["1", "2"],
    },
    "two axes": {"loss": ["bce", "bce+image-dice"], "augment": ["none", "ultrasound"]},
    "one axis": {"ema": ["0"], "loss": ["bce", "dice", "bce+dice", "bce+image-dice"]},
    "one combination": {"batch": ["8"]},
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("known", [0, 1, 99])
def test_a_grid_of_any_shape_shows_every_cell(
    tmp_path: Path, words: list[str], name: str, known: int
) -> None:
    keys = list(itertools.product(*GRIDS[name].values()))
    cells: dict[tuple[str, ...], float | str] = {
        key: 0.3 + place / 100 if place < known else "failed"
        for place, key in enumerate(keys)
    }
    grid_figure(GRIDS[name], cells, tmp_path / "grid.png")
    for cell in cells.values():
        assert (cell if isinstance(cell, str) else f"{cell:.3f}") in words
    assert words.count("failed") == len(keys) - min(known, len(keys))
    Image.open(tmp_path / "grid.png").verify()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7])
def test_the_faithfulness_figure_has_a_panel_a_layer(
    tmp_path: Path, words: list[str], count: int
) -> None:
    lines = {"deletion": [0.9, 0.2, 0.1], "insertion": [0.1, 0.8, 0.9]}
    nothing: dict[str, list[float]] = {"deletion": [], "insertion": []}
    layers = [f"stage{number}" for number in range(count)]
    faithfulness_figure(
        dict.fromkeys(layers, lines), lines, tmp_path / "curves.png", title="model-1"
    )
    assert {
        *layers,
        "deletion",
        "insertion",
        "in a random order",
        f"model-1 · {NOTICE}",
    } <= set(words)
    assert "no lesion predicted" not in words
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("L"))
    assert all((edge > 250).all() for edge in (pixels[:, 0], pixels[:, -1], pixels[-1]))
    faithfulness_figure(
        {"stage1": nothing}, nothing, tmp_path / "empty.png", title="model-1"
    )
    assert "no lesion predicted" in words


def test_figures_are_imported_without_matplotlib_and_drawn_without_pyplot() -> None:
    code = (
        "import sys, io, sonoseg.report.evaluation_figures as figures\n"
        "import sonoseg.report.explanation_figures, sonoseg.report.training_figures\n"
        "assert 'matplotlib' not in sys.modules\n"
        "figures.roc_figure({}, io.BytesIO())\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "name", ["a$$b", "$\\frac{", "caf\udce9", "a\x1b[2J", "漢字", "n" * 250]
)
def test_any_name_can_be_drawn(
    tmp_path: Path, name: str, recwarn: pytest.WarningsRecorder
) -> None:
    line = np.array([0.0, 1.0])
    roc_figure({name: (line, line)}, tmp_path / "roc.png")
    assert not recwarn.list
    with Image.open(tmp_path / "roc.png") as picture:
        assert (
            np.asarray(picture.convert("L"))[:, -150:-20].min() < 100
        )  # there is a text at the right
