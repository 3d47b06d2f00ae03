"""From a pack of its size a network is trained, scored, calibrated and explained as from the folder, bit by bit.

Only the sizes of lesions differ a little: a pack has no finer masks.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from sonoseg.cli import main
from sonoseg.core.sizes import MEASURES
from sonoseg.data.packing import pack_folder
from sonoseg.data.phantom import write_phantoms

TRAIN = [
    "--split",
    "grouped",
    "--encoder-weights",
    "none",
    "--epochs",
    "1",
    "--batch",
    "3",
]


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> dict[str, Path]:
    """The same data as a folder with spacings and as its pack, with a run trained on each."""
    root = tmp_path_factory.mktemp("both")
    folder = root / "phantoms"
    write_phantoms(folder, 10, seed=1, size=(128, 160))
    file = folder / "labels.csv"
    with file.open(newline="", encoding="utf-8") as table:
        rows = [row | {"spacing": "0.08"} for row in csv.DictReader(table)]
    with file.open("w", newline="", encoding="utf-8") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    pack = root / "other-name.safetensors"
    pack_folder(folder, 224, pack, progress=False)
    for name, data in {"from-folder": folder, "from-pack": pack}.items():
        assert (
            main(
                [
                    "train",
                    "model-15",
                    "--data",
                    str(data),
                    *TRAIN,
                    "--out",
                    str(root / name),
                ]
            )
            == 0
        )
    return {"root": root, "folder": folder, "pack": pack}


def test_training_is_the_same_bit_by_bit(both):
    one, other = both["root"] / "from-folder", both["root"] / "from-pack"
    for name in ("best.safetensors", "config.json", "images.csv"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
    assert json.loads((one / "config.json").read_text())["data"] == "phantoms"


@pytest.mark.parametrize("model", ["from-folder", "all-foreground"])
def test_its_scores_are_those_of_the_folder(both, model, tmp_path):
    run = str(both["root"] / model) if model == "from-folder" else model
    for name in ("folder", "pack"):
        words = [
            "--data",
            str(both[name]),
            "--split",
            "grouped",
            "--subset",
            "train",
            "--out",
            str(tmp_path / name),
        ]
        assert main(["evaluate", run, *words]) == 0
    check_same_scores(tmp_path / "folder", tmp_path / "pack")
    metrics = json.loads((tmp_path / "pack" / "metrics.json").read_text())
    own = json.loads((tmp_path / "folder" / "metrics.json").read_text())
    assert metrics.keys() == own.keys()
    for name in metrics:
        assert metrics[name] == own[name] or name == "sizes"
    assert metrics["about"]["data"] == "phantoms"
    if model == "from-folder":
        assert metrics["about"]["trained_on"] == metrics["images"]
    else:
        assert metrics["surface"]["hd95_mm"] > 0


def check_same_scores(folder, pack):
    """Two evaluations are the same; only sizes, which are measured in finer masks of a folder, differ a little."""
    assert (folder / "roc.csv").read_bytes() == (pack / "roc.csv").read_bytes()
    tables = []
    for place in (folder, pack):
        with (place / "cases.csv").open(newline="") as file:
            tables.append(list(csv.DictReader(file)))
    sizes = [f"{of}{name}" for name in MEASURES for of in ("", "reference_")]
    for own, packed in zip(*tables, strict=True):
        for name in own:
            if name in sizes and own[name]:
                assert float(packed[name]) == pytest.approx(float(own[name]), rel=0.05)
            else:
                assert packed[name] == own[name], name


def test_its_calibration_is_that_of_the_folder(both, tmp_path):
    for name in ("folder", "pack"):
        # A copy: the other tests score the run as it was trained.
        run = shutil.copytree(both["root"] / f"from-{name}", tmp_path / name)
        assert (
            main(
                ["calibrate", str(run), "--data", str(both[name]), "--split", "grouped"]
            )
            == 0
        )
    one, other = (
        json.loads((tmp_path / name / "calibration.json").read_text())
        for name in ("folder", "pack")
    )
    assert one == other


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (
            ["train", "model-15", *TRAIN, "--size", "64"],
            "224 × 224 pixels, but training needs 64 × 64; give the folder",
        ),
        (["evaluate", "default", "--split", "grouped"], "224 × 224 pixels, "),
    ],
)
def test_another_size_is_refused_by_name(both, tmp_path, capsys, words, problem):
    words = [*words, "--data", str(both["pack"]), "--out", str(tmp_path / "out")]
    capsys.readouterr()
    assert main(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert problem in lines[-1]
    assert "other-name.safetensors: has images of" in lines[-1]


def test_a_pack_of_another_size_than_the_grid_is_not_scored(both, tmp_path, capsys):
    pack = tmp_path / "small.safetensors"
    pack_folder(both["folder"], 96, pack, progress=False)
    words = ["--data", str(pack), "--split", "grouped", "--out", str(tmp_path / "out")]
    assert main(["evaluate", "all-foreground", *words]) == 2
    problem = "has images of 96 × 96 pixels, but evaluation needs 224 × 224; give the folder phantoms, or pack it with"
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [192, 224, 256])
@pytest.mark.parametrize("model", ["default", "accurate"])
def test_where_no_pack_fits_none_is_asked_for(both, tmp_path, capsys, size, model):
    """The network's size is not that of the grid."""
    pack = both["pack"]
    if size != 224:
        pack = tmp_path / "pack.safetensors"
        pack_folder(both["folder"], size, pack, progress=False)
    words = ["--data", str(pack), "--split", "grouped", "--out", str(tmp_path / "out")]
    assert main(["evaluate", model, *words]) == 2
    assert capsys.readouterr().err.strip().endswith("; give the folder phantoms")


def test_a_reproduction_takes_it(both, tmp_path, capsys):
    words = [
        "reproduce",
        "--split",
        "grouped",
        "--models",
        "15",
        "--encoder-weights",
        "none",
        "--epochs",
        "1",
    ]
    words += ["--batch", "3", "--explain", "0"]
    out = ["--data", str(both["pack"]), "--out", str(tmp_path / "out")]
    for more, problem in (
        (
            ["--models", "15,default"],
            "--models 15,default: includes default, which needs images of another size",
        ),
        (
            ["--size", "96"],
            "has images of 224 × 224 pixels, but training needs 96 × 96; give the folder phantoms\n",
        ),
    ):
        assert main([*words, *out, *more]) == 2
        assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*words, *out]) == 0
    run = tmp_path / "out" / "runs" / "model-15-grouped-0"
    trained = both["root"] / "from-folder"
    weights = "best.safetensors"
    assert (run / weights).read_bytes() == (trained / weights).read_bytes()
    line = ["--data", str(both["folder"]), "--split", "grouped", "--subset", "test"]
    scores = tmp_path / "scores"
    assert main(["evaluate", str(trained), *line, "--out", str(scores)]) == 0
    check_same_scores(scores, run / "test")
