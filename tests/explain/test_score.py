"""Scoring maps: of networks whose explanation is known, from the command line, and what goes wrong."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from sklearn.metrics import auc
from torch import Tensor, nn

from sonoseg.cli import main
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import write_phantoms
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.explain.gradcam import grad_cam, grad_cams
from sonoseg.explain.score import MEASURES, describe, score_explanations
from sonoseg.files import write_json
from sonoseg.models.catalog import Recipe
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.train.run_folder import CONFIG, RunConfig, save_weights

LEVELS = ("head", "stage4", "stage3", "stage2", "decoder", "all")


class Dark(nn.Module):
    """Calls dark areas lesion, as well as can be: its weights are set by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv2d(1, 2, 4, stride=4)
        self.bottleneck = nn.Identity()
        self.stages = nn.ModuleList([nn.Conv2d(2, 2, 1)])
        self.head = nn.Conv2d(2, 1, 1)
        with torch.no_grad():
            self.encoder.weight[0], self.encoder.weight[1] = (
                -1 / 16,
                1 / 16,
            )  # darkness and brightness
            self.encoder.bias.copy_(torch.tensor([0.4, 0.0]))
            self.stages[0].weight.copy_(torch.eye(2)[:, :, None, None])
            self.stages[0].bias.zero_()
            self.head.weight.copy_(torch.tensor([40.0, 0.0])[None, :, None, None])
            self.head.bias.fill_(-4)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.stages[0](self.bottleneck(F.relu(self.encoder(image)))))
        return F.interpolate(self.head(x), size=image.shape[2:], mode="bilinear")

    def explain_layers(self) -> dict[str, nn.Module]:
        return {"bottleneck": self.bottleneck, "stage1": self.stages[0]}


class Blind(Dark):
    """Answers every image with a lesion in the top left corner."""

    def forward(self, image: Tensor) -> Tensor:
        corner = torch.ones_like(image)
        corner[..., : image.shape[2] // 4, : image.shape[3] // 4] = 0
        return super().forward(corner)


class Stub(RunPredictor):
    """A predictor of a network without a run."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model.eval()  # type: ignore[assignment]
        self.name, self.size, self.temperature, self.device = (
            "stub",
            (64, 64),
            1.0,
            torch.device("cpu"),
        )


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Dark squares of several places on a bright, noisy ground; every fourth image holds none."""
    folder = tmp_path_factory.mktemp("squares")
    random = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(12):
        mask = np.zeros((64, 64), bool)
        if number % 4 != 3:
            top, left = random.integers(20, 42, 2)
            mask[top : top + 16, left : left + 16] = True
        image = np.where(mask, 0.05, 0.8) + random.uniform(-0.04, 0.04, (64, 64))
        Image.fromarray((255 * image).astype(np.uint8)).save(
            folder / "images" / f"{number:02}.png"
        )
        Image.fromarray(mask.astype(np.uint8) * 255).save(
            folder / "masks" / f"{number:02}.png"
        )
    return load_cases(folder)


@pytest.fixture(scope="module")
def dark(cases: list[Case]) -> dict[str, Any]:
    return score_explanations(Stub(Dark()), cases, progress=False)


@pytest.mark.parametrize("layer", ["bottleneck", "stage1"])
def test_the_maps_of_a_network_that_looks_at_the_lesion_are_true(
    dark: dict[str, Any], layer: str
) -> None:
    measures = dark["layers"][layer]
    assert measures["share"]["mean"] > 0.8 and measures["share_flat"][
        "mean"
    ] == pytest.approx(1 / 16)
    assert measures["pointing"]["mean"] == 1 > measures["pointing_flat"]["mean"]
    assert measures["iou"]["mean"] > 0.7 and measures["border_distance"]["mean"] < 2
    assert measures["deletion"]["mean"] < measures["deletion_random"]["mean"] - 0.1
    assert measures["insertion"]["mean"] > measures["insertion_random"]["mean"] + 0.1
    assert measures["empty"]["mean"] == pytest.approx(3 / 12)
    assert measures["similarity_all"]["mean"] < 0.5
    for row in describe(dark).splitlines()[-2:]:
        assert row.split()[1:3] == ["yes", "yes"]


def test_images_without_a_lesion_count_only_where_no_mask_is_needed(
    dark: dict[str, Any],
) -> None:
    measures = dark["layers"]["bottleneck"]
    assert dark["images"] == 12
    numbers = {
        name: measures[name]["n"]
        for name in ("share", "pointing", "iou", "deletion", "empty")
    }
    assert numbers == {"share": 9, "pointing": 9, "iou": 9, "deletion": 9, "empty": 12}
    assert (
        measures["similarity_all"]["n"] == 9
    )  # the others' maps are zero: nothing to keep


@pytest.mark.parametrize("layer", ["bottleneck", "stage1"])
def test_the_measures_belong_together(dark: dict[str, Any], layer: str) -> None:
    measures = {
        name: measure["mean"] for name, measure in dark["layers"][layer].items()
    }
    for name, sign, beside in (
        ("share", 1, "flat"), ("pointing", 1, "flat"), ("deletion", -1, "random"), ("insertion", 1, "random"),
    ):  # fmt: skip
        gain = sign * (measures[name] - measures[f"{name}_{beside}"])
        assert measures[f"{name}_gain"] == pytest.approx(gain)
    for name in ("deletion", "insertion"):
        for found, key in (
            (measures[name], layer),
            (measures[f"{name}_random"], "random"),
        ):
            assert auc(
                np.linspace(0, 1, 17), dark["curves"][key][name]
            ) == pytest.approx(found)
    own = dark["curves"][layer]
    assert (
        own["deletion"][0]
        == own["insertion"][-1]
        > 0.8
        > 0.5
        > own["deletion"][-1]
        == own["insertion"][0]
    )
    for measure in dark["layers"][layer].values():
        low, high = measure["interval"] or 2 * [measure["mean"]]  # "empty" is constant
        assert low <= measure["mean"] <= high


def test_a_network_that_ignores_the_image_gains_nothing(cases: list[Case]) -> None:
    result = score_explanations(Stub(Blind()), cases, progress=False)
    for layer in ("bottleneck", "stage1"):
        measures = result["layers"][layer]
        assert (
            measures["deletion_gain"]["mean"] == measures["insertion_gain"]["mean"] == 0
        )
        assert measures["deletion"]["n"] == 12  # it sees a lesion everywhere
        assert measures["share"]["mean"] < measures["share_flat"]["mean"]
    assert all(
        row.split()[1:3] == ["no", "no"] for row in describe(result).splitlines()[-2:]
    )


def test_a_network_that_never_sees_a_lesion_has_no_curves(cases: list[Case]) -> None:
    model = Dark()
    nn.init.constant_(model.head.bias, -100)
    result = score_explanations(Stub(model), cases, ["stage1"], progress=False)
    measures = result["layers"]["stage1"]
    assert measures["deletion"] == {
        "mean": None, "interval": None, "n": 0, "groups": 0,
    }  # fmt: skip
    assert result["curves"] == {
        name: {"deletion": [], "insertion": []} for name in ("random", "stage1")
    }
    assert measures["share"]["n"] == 9
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert "–" in describe(result)


def test_a_map_that_is_zero_everywhere_counts_as_flat(cases: list[Case]) -> None:
    model = Dark()
    nn.init.zeros_(model.head.weight)  # nothing before the head matters
    nn.init.ones_(model.head.bias)
    measures = score_explanations(Stub(model), cases, ["stage1"], progress=False)[
        "layers"
    ]["stage1"]
    assert measures["empty"]["mean"] == 1
    for name in ("share", "pointing", "deletion", "insertion"):
        gain = measures[f"{name}_gain"]
        assert (gain["mean"], gain["interval"]) == (0, None)
    assert measures["similarity_all"]["n"] == 0


def test_images_of_one_patient_answer_nothing(cases: list[Case]) -> None:
    """Twelve frames of one lesion are one observation."""
    of_one = [replace(case, group="one") for case in cases]
    result = score_explanations(Stub(Dark()), of_one, ["stage1"], progress=False)
    share = result["layers"]["stage1"]["share_gain"]
    assert (share["n"], share["groups"], share["interval"]) == (9, 1, None)
    assert describe(result).splitlines()[-1].split()[1:] == ["unclear"] * 3


def test_a_network_that_has_failed_is_told(cases: list[Case]) -> None:
    model = Dark()
    nn.init.constant_(model.head.weight, float("nan"))
    with pytest.raises(
        InputError, match=r"stub: returns numbers that are not finite for 00\.png"
    ):
        score_explanations(Stub(model), cases, progress=False)


def test_images_are_chosen_evenly_and_scored_alike_again(cases: list[Case]) -> None:
    predictor = Stub(Dark())
    few = score_explanations(predictor, cases, ["stage1"], limit=3, progress=False)
    assert few["images"] == 3
    chosen = [cases[number] for number in (0, 6, 11)]
    assert (
        score_explanations(predictor, chosen, ["stage1"], limit=5, progress=False)
        == few
    )


def test_several_maps_from_one_pass_are_those_of_one_each() -> None:
    model, image = (
        Dark().eval(),
        torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(0)),
    )
    model.requires_grad_(False)
    together = grad_cams(model, image, ["fused", "stage1", "bottleneck"])
    assert list(together) == ["fused", "stage1", "bottleneck"]
    for layer, heat in together.items():
        np.testing.assert_array_equal(heat, grad_cam(model, image, layer))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small, untrained network that calls much of an image lesion, as a run folder."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    folder.mkdir()
    network = FusionUNetConfig(
        ("resnet18",), "cbam", frozen=True, widths=(32, 16, 16, 8)
    )
    torch.manual_seed(0)
    model = FusionUNet(network).eval()
    nn.init.constant_(model.head.bias, 0.3)
    config = RunConfig(
        "model-1", network, Recipe(), data="d", split="all", cases="", size=64, seed=0,
        encoder_weights="none", start_from="",
    )  # fmt: skip
    write_json(folder / CONFIG, config.to_json())
    save_weights(folder, model)
    return folder


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 4, size=(128, 160))
    return folder


def test_the_command_writes_a_table_a_row_an_image_and_layer_and_a_picture(
    run: Path, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, split = tmp_path / "out", tmp_path / "two.csv"
    split.write_text("file,subset\nsynthetic_00.png,test\nsynthetic_03.png,test\n")
    words = [
        "explain",
        str(run),
        "--score",
        "--data",
        str(phantoms),
        "--split",
        str(split),
    ]
    assert main([*words, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {
        f"faithfulness.{kind}" for kind in ("json", "csv", "png")
    }
    result = json.loads((out / "faithfulness.json").read_text())
    assert result["about"] == {
        "data": phantoms.name,
        "split": "two.csv",
        "subset": "test",
    }
    assert (result["model"], result["grid"], result["images"]) == (
        "model-1",
        [64, 64],
        2,
    )
    layers = ["bottleneck", "stage1", "stage2", "stage3", "stage4"]
    assert list(result["layers"]) == layers and list(result["curves"]) == [
        "random",
        *layers,
    ]
    for measures in result["layers"].values():
        assert list(measures) == [
            *MEASURES,
            *(f"similarity_{level}" for level in LEVELS),
        ]
    with (out / "faithfulness.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["file"], row["layer"]) for row in rows] == [
        (f"synthetic_0{number}.png", layer) for number in (0, 3) for layer in layers
    ]
    assert all((row["share"] == "") == (row["label"] == "normal") for row in rows)
    shares = [
        float(row["share"]) for row in rows if row["layer"] == "stage2" and row["share"]
    ]
    assert np.mean(shares) == pytest.approx(
        result["layers"]["stage2"]["share"]["mean"], abs=1e-5
    )
    with Image.open(out / "faithfulness.png") as picture:
        assert picture.format == "PNG" and np.asarray(picture).std() > 10
    printed = capsys.readouterr().out
    assert "two.csv/test, 2 images" in printed and "better than a flat map" in printed


def test_one_layer_may_be_asked_for_and_data_may_hold_no_lesion(
    run: Path, phantoms: Path, tmp_path: Path
) -> None:
    split = tmp_path / "normal.csv"
    split.write_text("file,subset\nsynthetic_03.png,test\n")
    words = [
        "explain",
        str(run),
        "--score",
        "--data",
        str(phantoms),
        "--split",
        str(split),
        "--layer",
        "fused",
    ]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    result = json.loads((tmp_path / "out" / "faithfulness.json").read_text())
    assert (
        list(result["layers"]) == ["fused"]
        and result["layers"]["fused"]["share"]["n"] == 0
    )


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["RUN"], "there is nothing to explain; name some images, or use --score"),
        (
            ["RUN", "--score"],
            "--score: needs images with reference masks; add --data",
        ),
        (
            ["RUN", "DATA/images", "--score", "--data", "DATA"],
            "--score: takes its images from --data",
        ),
        (["RUN", "DATA/images", "--data", "DATA"], "--data: is for --score"),
        (["RUN", "--score", "--data", "nowhere"], "there is no such folder"),
        (
            ["RUN", "--score", "--data", "DATA", "--layer", "stage9"],
            "stage9: no such layer in this model",
        ),
        (
            ["RUN", "--score", "--data", "DATA", "--subset", "train"],
            "there are no images in this subset",
        ),
        (
            ["RUN", "--score", "--data", "DATA", "--split", "paper"],
            "this split is only for BUSI",
        ),
        (
            ["RUN", "--score", "--data", "DATA", "--out", "DATA/labels.csv"],
            "this is a file, not a folder",
        ),
        (["nowhere", "--score", "--data", "DATA"], "needs the gradients of a run"),
    ],
)
def test_what_is_wrong_is_told_in_one_line_before_any_work(
    words: list[str],
    problem: str,
    run: Path,
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DATA").symlink_to(phantoms)
    assert (
        main(["explain", *(str(run) if word == "RUN" else word for word in words)]) == 2
    )
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and problem in lines[0]
    assert [path.name for path in tmp_path.iterdir()] == ["DATA"]


def test_a_mask_that_cannot_be_read_stops_it_before_anything_is_made(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_phantoms(tmp_path / "data", 2, size=(128, 128))
    (tmp_path / "data" / "masks" / "synthetic_01.png").write_text("text")
    words = [
        "explain",
        str(run),
        "--score",
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(words) == 2
    assert "synthetic_01.png" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_cases_and_no_such_layer_are_input_errors(cases: list[Case]) -> None:
    with pytest.raises(InputError, match="there are no images"):
        score_explanations(Stub(Dark()), [], progress=False)
    with pytest.raises(InputError, match="stage7: no such layer"):
        score_explanations(Stub(Dark()), cases, ["stage7"], progress=False)
