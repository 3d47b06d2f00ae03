"""A calibrated run: its files, what evaluate, export and the reader make of them, and what goes wrong."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

import sonoseg
from sonoseg.cli import main
from sonoseg.data.dicom_phantom import write_dicom_phantoms
from sonoseg.data.load import load_cases
from sonoseg.data.phantom import write_phantoms
from sonoseg.data.splits import split_cases
from sonoseg.deploy import calibrate, malignancy
from sonoseg.deploy.bundle_card import make_card
from sonoseg.deploy.calibration import load_calibration
from sonoseg.deploy.operating_points import CUTS, Point, write_points
from sonoseg.deploy.run_predictor import RunPredictor
from sonoseg.files import write_json
from sonoseg.models.catalog import Recipe
from sonoseg.models.fusion_unet import FusionUNet, FusionUNetConfig
from sonoseg.reader.card import SENSITIVITIES
from sonoseg.train.dataset import record_of
from sonoseg.train.run_folder import (
    BEST,
    CALIBRATION,
    CONFIG,
    FAMILIARITY,
    SENSITIVITY,
    RunConfig,
    file_hash,
    save_weights,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 24, seed=1, size=(128, 160))
    return folder


@pytest.fixture(scope="module")
def calibrated(
    tmp_path_factory: pytest.TempPathFactory, data: Path, shallow: None
) -> Path:
    """A run with random weights, calibrated on phantoms."""
    folder = tmp_path_factory.mktemp("run")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = FusionUNetConfig(
        ("resnet18",), skips=True, presence="image", widths=(32, 16, 16, 8)
    )
    model = FusionUNet(network)
    model(torch.rand(4, 1, 64, 64))
    save_weights(folder, model.eval())
    config = RunConfig(
        "model-7", network, Recipe(), "phantoms", "grouped", "", 64, 0, "none", ""
    )
    write_json(folder / CONFIG, config.to_json())
    assert (
        main(["calibrate", str(folder), "--data", str(data), "--split", "grouped"]) == 0
    )
    return folder


def test_the_report_says_what_the_temperature_changed(calibrated: Path) -> None:
    report = json.loads((calibrated / CALIBRATION).read_text())
    assert report["nll"]["after"] < report["nll"]["before"]
    assert report["ece"].keys() == {"before", "after"}
    assert 0.05 <= report["temperature"] <= 20
    assert report["known"] > report["images"] > 0


def test_evaluate_takes_the_temperature_up(calibrated: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    own, after = (
        RunPredictor(calibrated, calibrated=flag).probability([image])[0]
        for flag in (False, True)
    )
    temperature = json.loads((calibrated / CALIBRATION).read_text())["temperature"]
    logits = np.log(own.astype(float)) - np.log1p(-own.astype(float))
    np.testing.assert_allclose(
        after, 1 / (1 + np.exp(-logits / temperature)), atol=1e-4
    )


def test_the_bundle_tells_images_unlike_its_own_and_the_reader_says_so(
    calibrated: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "b.onnx"
    assert main(["export", str(calibrated), "--out", str(bundle), "--half"]) == 0
    segmenter = sonoseg.load(bundle)
    known = [segmenter.segment(path) for path in sorted((data / "images").iterdir())]
    assert not any(result.doubts for result in known)
    page = np.full((200, 300), 255, np.uint8)
    page[::8, ::3] = 0
    for name, pixels in {"page": page, "blank": np.zeros((90, 90), np.uint8)}.items():
        result = segmenter.segment(pixels)
        assert result.unfamiliarity is not None and result.unfamiliarity > 1, name
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    capsys.readouterr()
    scan = next((data / "images").iterdir())
    paths = [str(tmp_path / "page.png"), str(scan)]
    assert (
        main(
            ["segment", *paths, "--model", str(bundle), "--out", str(tmp_path / "out")]
        )
        == 0
    )
    assert (
        capsys.readouterr().out.count(
            "do not trust this: unlike the images that the network was trained on"
        )
        == 1
    )
    entries = json.loads((tmp_path / "out" / "results.json").read_text())["images"]
    assert [len(entry["doubts"]) for entry in entries] == [1, 0]
    assert entries[0]["unfamiliarity"] > 1 > entries[1]["unfamiliarity"]


NO_TEMPERATURES = (0, -1, 10**400, 1e308, "1", True, None, [1.0])


def with_temperature(value: object) -> Callable[[Path], object]:
    def spoil(run: Path) -> None:
        report = json.loads((run / CALIBRATION).read_text()) | {"temperature": value}
        (run / CALIBRATION).write_text(json.dumps(report))

    return spoil


def of_another_calibration(run: Path) -> None:
    """As a kill between the two files could leave them."""
    tensors = load_file(run / FAMILIARITY)
    save_file(tensors | {"mean": 2 * tensors["mean"]}, run / FAMILIARITY)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (
            lambda run: (run / CALIBRATION).write_text("{}"),
            "not a calibration that can be read",
        ),
        (
            lambda run: (run / CALIBRATION).write_text("[" * 100_000),
            "not a calibration that can be read",
        ),
        (
            lambda run: (run / CALIBRATION).write_text("[]"),
            "not a calibration that can be read",
        ),
        (
            lambda run: (run / FAMILIARITY).write_bytes(b"no"),
            "not a readable safetensors file",
        ),
        (lambda run: (run / FAMILIARITY).unlink(), "no such weights"),
        (
            lambda run: save_file({"basis": np.ones(3, np.float32)}, run / FAMILIARITY),
            "not a calibration that can be",
        ),
        *[
            (with_temperature(value), "its temperature is not a number from 0.04")
            for value in NO_TEMPERATURES
        ],
        *[
            (with_temperature(float(word)), "not a calibration that can be read")
            for word in ("nan", "inf", "-inf")
        ],
        (of_another_calibration, f"was not made together with {FAMILIARITY}"),
    ],
)
def test_a_broken_calibration_is_named(
    calibrated: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil,
    problem: str,
) -> None:
    run = copied(calibrated, tmp_path / "run")
    spoil(run)
    assert main(["export", str(run), "--out", str(tmp_path / "b.onnx")]) == 2
    error = capsys.readouterr().err
    assert (
        error.startswith("sonoseg: ")
        and problem in error
        and len(error.splitlines()) == 1
    )
    assert not (tmp_path / "b.onnx").exists()


def test_a_calibration_of_other_weights_is_refused(
    calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(calibrated, tmp_path / "run")
    network = RunConfig.read(run).network
    torch.manual_seed(1)
    save_weights(run, FusionUNet(network).eval())
    assert main(["export", str(run), "--out", str(tmp_path / "b.onnx")]) == 2
    assert "was made for other weights" in capsys.readouterr().err


def copied(run: Path, to: Path) -> Path:
    """A copy of a run, whose large file of weights is the same file."""
    to.mkdir()
    for path in run.iterdir():
        if path.name == BEST:
            os.link(path, to / path.name)
        else:
            shutil.copy(path, to)
    return to


def test_the_operating_points_go_onto_the_card_and_other_hospitals_help_to_choose(
    calibrated: Path, data: Path, tmp_path: Path
) -> None:
    more = tmp_path / "abroad"
    write_phantoms(more, 10, seed=30, size=(128, 160))
    run = copied(calibrated, tmp_path / "run")
    words = ["--data", str(data), "--split", "grouped", "--abroad", str(more)]
    assert main(["calibrate", str(run), *words]) == 0
    with (run / SENSITIVITY).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["source"] for row in rows} == {data.name, "abroad"}
    assert len(rows) == 2 * len(CUTS)
    images = [int(row["lesions"]) + int(row["normals"]) for row in rows]
    assert images[-1] == 10
    report = json.loads((run / CALIBRATION).read_text())
    before = json.loads((calibrated / CALIBRATION).read_text())
    assert report["held_out"] == before["held_out"]
    card = make_card(RunConfig.read(run), load_calibration(run))
    assert card.sensitivity == report["sensitivity"]
    assert set(card.sensitivity) == set(SENSITIVITIES)


def test_the_operating_points_are_chosen_in_the_table_of_another_run(
    calibrated: Path, data: Path, tmp_path: Path
) -> None:
    run = copied(calibrated, tmp_path / "run")
    table = tmp_path / "table.csv"
    points = [
        Point("x", cut, 10, 0.8, 0.0 if cut <= 0.2 else 0.05, 10, cut < 0.8, 0, None)
        for cut in CUTS
    ]
    write_points(table, points)
    words = ["--data", str(data), "--split", "grouped", "--points", str(table)]
    assert main(["calibrate", str(run), *words]) == 0
    report = json.loads((run / CALIBRATION).read_text())
    assert report["sensitivity"] == {"high": 0.2, "balanced": 0.5, "specific": 0.8}
    assert report["points"] == f"table.csv {file_hash(table)}"
    assert "points" not in json.loads((calibrated / CALIBRATION).read_text())
    # The table of the run itself has its own images.
    assert (run / SENSITIVITY).read_text() == (calibrated / SENSITIVITY).read_text()


def test_different_data_sets_of_one_name_are_refused(
    calibrated: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of them would take the place of the other, in the operating points and in the limit."""
    first, second, home = (
        tmp_path / "a/scans",
        tmp_path / "b/scans",
        tmp_path / "c" / data.name,
    )
    for seed, folder in enumerate((first, second, home)):
        write_phantoms(folder, 10, seed=30 + seed, size=(128, 160))
    run = copied(calibrated, tmp_path / "run")
    before = (run / SENSITIVITY).read_bytes()
    words = ["calibrate", str(run), "--data", str(data), "--split", "grouped"]
    for more in (
        ["--abroad", str(first), str(second)],
        ["--abroad", str(home)],
        ["--also", f"{home}@grouped"],
    ):
        assert main([*words, *more]) == 2
        assert "is named" in capsys.readouterr().err
        assert (run / SENSITIVITY).read_bytes() == before
    # The same data set twice is one.
    assert main([*words, "--abroad", str(first), f"{first}/"]) == 0
    with (run / SENSITIVITY).open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["source"] == "scans"]
    assert int(rows[0]["lesions"]) + int(rows[0]["normals"]) == 10


def test_all_frames_of_a_loop_are_kept_and_each_once(tmp_path: Path) -> None:
    write_dicom_phantoms(tmp_path, 2)
    cases = load_cases(tmp_path)
    assert len({case.image for case in cases}) < len(cases)
    found = calibrate._by_name([(tmp_path, cases), (tmp_path, cases)])
    assert found == {tmp_path.name: cases}
    assert malignancy._unique([*cases, *cases]) == cases


def test_operating_points_need_a_presence_head(
    data: Path, tmp_path: Path, shallow: None, capsys: pytest.CaptureFixture[str]
) -> None:
    network = FusionUNetConfig(("resnet18",), skips=True, widths=(32, 16, 16, 8))
    save_weights(tmp_path, FusionUNet(network).eval())
    config = RunConfig(
        "model-7", network, Recipe(), "phantoms", "grouped", "", 64, 0, "none", ""
    )
    write_json(tmp_path / CONFIG, config.to_json())
    words = ["calibrate", str(tmp_path), "--data", str(data), "--split", "grouped"]
    for more in (["--abroad", str(data)], ["--points", str(tmp_path / "points.csv")]):
        assert main([*words, *more]) == 2
        assert "has no presence head" in capsys.readouterr().err
        assert not (tmp_path / CALIBRATION).exists()


def test_a_table_that_is_missing_is_one_line(
    calibrated: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--data", str(data), "--split", "grouped"]
    table = tmp_path / "nowhere.csv"
    assert main(["calibrate", str(calibrated), *words, "--points", str(table)]) == 2
    error = capsys.readouterr().err
    assert str(table) in error and len(error.strip().splitlines()) == 1


def test_a_further_folder_without_a_split_is_known_as_a_whole(
    calibrated: Path, data: Path, tmp_path: Path
) -> None:
    """As in train: all of its images are training images, and none is held out."""
    more = tmp_path / "more"
    write_phantoms(more, 10, seed=99, size=(128, 160))
    words = ["--data", str(data), "--split", "grouped"]
    reports = {}
    for name, also in {
        "alone": [],
        "whole": ["--also", str(more)],
        "split": ["--also", f"{more}@grouped"],
    }.items():
        run = copied(calibrated, tmp_path / name)
        assert main(["calibrate", str(run), *words, *also]) == 0
        reports[name] = json.loads((run / CALIBRATION).read_text())
    assert reports["whole"]["known"] == reports["alone"]["known"] + 10
    assert reports["whole"]["held_out"] == reports["alone"]["held_out"]
    subsets = split_cases(load_cases(more), "grouped")
    assert reports["split"]["known"] == reports["alone"]["known"] + len(
        subsets["train"]
    )
    assert reports["split"]["held_out"] == reports["alone"]["held_out"] + len(
        subsets["validation"]
    )


def test_both_files_are_new_or_both_are_old(
    calibrated: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copied(calibrated, tmp_path / "run")
    before = {name: (run / name).read_bytes() for name in (CALIBRATION, FAMILIARITY)}

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("sonoseg.files.json.dumps", full)
    with pytest.raises(OSError, match="full"):
        main(["calibrate", str(run), "--data", str(data), "--split", "grouped"])
    assert {name: (run / name).read_bytes() for name in before} == before
    assert {path.name for path in run.iterdir()} == {
        path.name for path in calibrated.iterdir()
    }


def test_the_network_inside_is_not_calibrated(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["calibrate", "default", "--data", str(data), "--split", "grouped"]) == 2
    )
    problem = "default: the bundled model cannot be calibrated again; give a folder"
    assert problem in capsys.readouterr().err


def test_a_split_without_validation_images_is_refused(
    calibrated: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (calibrated / CALIBRATION).read_bytes()
    assert (
        main(["calibrate", str(calibrated), "--data", str(data), "--split", "all"]) == 2
    )
    assert "no training or no validation images" in capsys.readouterr().err
    assert (calibrated / CALIBRATION).read_bytes() == before


def test_images_that_the_run_was_trained_on_are_not_held_out(
    calibrated: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copied(calibrated, tmp_path / "run")
    subsets = split_cases(load_cases(data), "grouped")
    record = record_of(subsets["train"], subsets["validation"], 64)
    record.write(run)
    write_json(
        run / CONFIG, json.loads((run / CONFIG).read_text()) | {"cases": record.digest}
    )
    before = (run / CALIBRATION).read_bytes()
    words = ["calibrate", str(run), "--data", str(data)]
    trained = {case.name for case in subsets["train"]}
    others = split_cases(load_cases(data), "grouped-2")["validation"]
    both = [case.name for case in others if case.name in trained]
    assert main([*words, "--split", "grouped-2"]) == 2
    problem = f"{run}: was trained on {len(both)} of these {len(others)} held-out images, first {both[0]}; give --data"
    assert problem in capsys.readouterr().err
    assert (run / CALIBRATION).read_bytes() == before
    assert main([*words, "--split", "grouped"]) == 0
    assert (
        json.loads((run / CALIBRATION).read_text())["temperature"]
        == json.loads(before)["temperature"]
    )


def test_a_temperature_needs_lesions(
    calibrated: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank = tmp_path / "blank"
    shutil.copytree(data, blank)
    for case in split_cases(load_cases(blank), "grouped")["validation"]:
        for mask in case.masks:
            Image.new("L", (160, 128)).save(mask)
    run = copied(calibrated, tmp_path / "run")
    before = (run / CALIBRATION).read_bytes()
    assert (
        main(["calibrate", str(run), "--data", str(blank), "--split", "grouped"]) == 2
    )
    assert (
        "have no lesion, or only lesion, so no temperature can be fitted; choose"
        in capsys.readouterr().err
    )
    assert (run / CALIBRATION).read_bytes() == before
