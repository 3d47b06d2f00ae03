"""A run with a malignancy head: its files, its bundle, what the reader and `evaluate` make of it; and damage."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

import sonoseg
from sonoseg.cli import main
from sonoseg.data.load import load_cases
from sonoseg.data.packing import pack_folder
from sonoseg.data.phantom import write_phantoms
from sonoseg.deploy.malignancy import lesions_of, load_head
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.errors import InputError
from sonoseg.evaluate.judge import judge_cases
from sonoseg.evaluate.predictors import load_predictor
from sonoseg.files import write_json
from sonoseg.models.catalog import Recipe
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.train.run_folder import CONFIG, RunConfig, load_run, save_weights

SIZE = 64
pytestmark = pytest.mark.usefixtures("shallow")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of which every second one is called malignant; its lesion is painted bright, so that it can be told."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 24, seed=1, size=(128, 128))
    rows = list(csv.DictReader((folder / "labels.csv").open(newline="")))
    lesions = [row for row in rows if row["label"] != "normal"]
    for number, row in enumerate(lesions):
        row["label"] = ("benign", "malignant")[number % 2]
        if number % 2:
            file = folder / "images" / row["file"]
            image = np.array(Image.open(file).convert("L"))
            mask = (
                np.array(Image.open(next((folder / "masks").glob(f"{file.stem}*")))) > 0
            )
            image[mask] = 255
            Image.fromarray(image).save(file)
    with (folder / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    """A run with a malignancy head. Its random network calls about everything lesion, so everything is outlined."""
    folder = tmp_path_factory.mktemp("run")
    network = FusionUNetConfig(
        ("tf_efficientnet_lite0",), skips=True, widths=(16, 16, 8, 8)
    )
    torch.manual_seed(0)
    model = FusionUNet(network)
    model(torch.rand(4, 1, SIZE, SIZE))
    model.head.bias.data.fill_(2)
    save_weights(folder, model.eval())
    config = RunConfig(
        "sonoseg-1", network, Recipe(), "phantoms", "all", "-", SIZE, 0, "none", ""
    )  # fmt: skip
    write_json(folder / CONFIG, config.to_json())
    command = ["malignancy", str(folder), "--data", str(data), "--split", "grouped"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sonoseg.deploy.malignancy.FEWEST", 2)
        patch.setattr("sonoseg.deploy.malignancy.FEWEST_PATIENTS", 2)
        assert main(command) == 0
    return folder


@pytest.fixture(scope="module")
def bundle(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "mine.onnx"
    assert main(["export", str(run), "--out", str(out), "--half"]) == 0
    return out


def test_the_run_holds_the_head_and_says_what_it_is_made_from(run):
    stored = load_head(run)
    assert stored is not None
    assert stored.report["images"] > 8
    assert stored.report["data"][0].endswith("@grouped")
    assert stored.head.rules.balanced == stored.report["rules"]["balanced"]


def test_each_lesion_of_the_bundle_is_judged_and_results_json_says_so(
    bundle, data, tmp_path
):
    image = next((data / "images").iterdir())
    segmenter = sonoseg.load(bundle)
    assert segmenter.card.malignancy["patients"] > 8
    lesion = segmenter.segment(image).lesions[0]
    answer = lesion.malignancy
    assert 0 <= answer.low <= answer.probability <= answer.high <= 1
    out = tmp_path / "out"
    assert main(["segment", str(image), "--model", str(bundle), "--out", str(out)]) == 0
    written = json.loads((out / "results.json").read_text())["images"][0]["lesions"][0]
    assert written["malignancy"] == answer.to_dict()


def test_the_outline_is_the_same_with_and_without_a_head(run, bundle, data, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(run, plain)
    (plain / "malignancy.json").unlink()
    assert (
        main(["export", str(plain), "--out", str(tmp_path / "plain.onnx"), "--half"])
        == 0
    )
    image = next((data / "images").iterdir())
    own, other = sonoseg.load(tmp_path / "plain.onnx"), sonoseg.load(bundle)
    found, expected = other.segment(image), own.segment(image)
    assert np.abs(found.network_map - expected.network_map).max() < 1e-6
    assert expected.lesions[0].malignancy is None


def test_evaluate_and_compare_tell_the_kinds_apart(bundle, data, tmp_path, capsys):
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        command = [
            "evaluate",
            str(bundle),
            "--data",
            str(data),
            "--split",
            "all",
            "--out",
        ]
        assert main([*command, str(folder)]) == 0
    assert "malignancy: AUC" in capsys.readouterr().out
    found = json.loads((folders[0] / "metrics.json").read_text())["malignancy"]
    rows = list(csv.DictReader((folders[0] / "malignancy.csv").open(newline="")))
    assert found["images"] == len(rows) > 15
    malignant = [row["label"] == "malignant" for row in rows]
    expected = roc_auc_score(malignant, [float(row["probability"]) for row in rows])
    assert found["auc"] == pytest.approx(expected, abs=1e-3)
    assert main(["compare", *map(str, folders)]) == 0
    assert "AUC of malignancy +0.000" in capsys.readouterr().out
    command[1] = (
        "all-background"  # it judges nothing, and nothing is left of the bundle
    )
    assert main([*command, str(folders[1])]) == 0
    assert not (folders[1] / "malignancy.csv").exists()
    shutil.copy(folders[0] / "malignancy.csv", folders[1])  # as after a kill
    assert main(["compare", *map(str, folders)]) == 0
    assert "malignancy" not in capsys.readouterr().out


def test_a_pack_has_the_lesions_of_its_folder(run, bundle, data, tmp_path):
    pack = tmp_path / "phantoms.safetensors"
    pack_folder(data, SIZE, pack, progress=False)
    predictor = RunPredictor(run)
    folder_cases, packed_cases = load_cases(data), load_cases(pack)
    own, packed = (
        lesions_of(predictor, cases) for cases in (folder_cases, packed_cases)
    )
    assert own is not None and packed is not None
    assert packed.malignant.tolist() == own.malignant.tolist()
    metrics = judge_cases(load_predictor(str(bundle)), packed_cases, tmp_path, {})
    assert metrics["malignancy"]["images"] == int((~own.is_own).sum())


def test_a_head_for_other_weights_and_damaged_ones_are_refused(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    report = json.loads((other / "malignancy.json").read_text())
    for changed in (
        {"weights": "sha256:0"},
        {"rules": {}},
        {"malignancy.safetensors": ""},
    ):
        (other / "malignancy.json").write_text(json.dumps(report | changed))
        with pytest.raises(InputError, match="malignancy"):
            load_head(other)
    (other / "malignancy.json").write_text(json.dumps(report))
    (other / "malignancy.safetensors").write_bytes(b"0" * 100)
    with pytest.raises(InputError, match="malignancy"):
        load_head(other)


def test_a_head_that_was_fitted_before_the_calibration_is_refused(
    run, data, tmp_path, capsys
):
    """Its limit for uncertain outlines belongs to other probabilities."""
    later = tmp_path / "later"
    shutil.copytree(run, later)
    words = ["--data", str(data), "--split", "grouped"]
    assert main(["calibrate", str(later), *words]) == 0
    capsys.readouterr()
    assert main(["export", str(later), "--out", str(tmp_path / "later.onnx")]) == 2
    assert (
        "was fitted before the run was calibrated; run sonoseg malignancy again"
        in capsys.readouterr().err
    )


def test_too_few_lesions_or_patients_and_the_bundled_model_are_refused(
    run, data, tmp_path, capsys, monkeypatch
):
    command = ["--data", str(data), "--split", "grouped"]
    assert main(["malignancy", str(run), *command]) == 2
    assert f"{data}: has fewer than 20" in capsys.readouterr().err
    monkeypatch.setattr("sonoseg.deploy.malignancy.FEWEST", 2)
    blind = shutil.copytree(run, tmp_path / "blind")
    model, _ = load_run(blind)
    model.head.bias.data.fill_(-99)
    save_weights(blind, model)
    assert main(["malignancy", str(blind), *command]) == 2
    error = capsys.readouterr().err
    assert f"{blind}: outlines fewer than 2 of the benign or of the malignant" in error
    again = shutil.copytree(data, tmp_path / "again")
    (again / "labels.csv").unlink()
    for file in [*again.glob("images/*"), *again.glob("masks/*")]:
        file.rename(file.with_name(f"other_{file.name}"))
    assert main(["malignancy", str(run), *command, "--also", str(again)]) == 2
    assert f"validation or test images of {data}" in capsys.readouterr().err
    one = shutil.copytree(data, tmp_path / "one")
    with (one / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["group"] = f"patient {number % 6}"
    with (one / "labels.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert main(["malignancy", str(run), "--data", str(one), "--split", "grouped"]) == 2
    assert "lesions of fewer than 5 patients" in capsys.readouterr().err
    assert main(["malignancy", "default", *command]) == 2
    assert "cannot be replaced" in capsys.readouterr().err


def test_an_image_in_which_nothing_is_outlined_has_no_probability(
    bundle, data, tmp_path, monkeypatch
):
    predictor = load_predictor(str(bundle))
    segment = predictor.segmenter.segment
    answers = [False, True, True]

    def blind(image):
        result = segment(image)
        return result if answers.pop() else replace(result, mask=result.mask & False)

    monkeypatch.setattr(predictor.segmenter, "segment", blind)
    cases = [case for case in load_cases(data) if case.label != "normal"][:3]
    metrics = judge_cases(predictor, cases, tmp_path, {})
    rows = list(csv.DictReader((tmp_path / "malignancy.csv").open(newline="")))
    assert [row["probability"] == "" for row in rows] == [False, False, True]
    assert [row["low"] == row["high"] == "" for row in rows] == [False, False, True]
    assert rows[2]["withheld"] == "no lesion was outlined"
    assert metrics["malignancy"]["missed"] == 1
