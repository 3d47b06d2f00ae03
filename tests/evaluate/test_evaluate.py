"""The whole evaluation: on BUSI against the paper's printed figures, on phantoms against answers known by hand."""

from __future__ import annotations

import csv
import errno
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from sonoseg.cli import main
from sonoseg.core.metrics import CONVENTIONS, METRICS
from sonoseg.core.resize import resize_mask
from sonoseg.data.case import Case
from sonoseg.data.load import load_cases
from sonoseg.data.packing import pack_folder
from sonoseg.data.phantom import write_phantoms
from sonoseg.data.splits import split_cases
from sonoseg.errors import InputError
from sonoseg.evaluate.describe import describe
from sonoseg.evaluate.evaluate import evaluate, evaluate_command
from sonoseg.evaluate.predictors import load_predictor
from sonoseg.evaluate.surface import border_distances
from sonoseg.lock import held
from sonoseg.reader.segmenter import load

CURVES = [
    f"{name}.{kind}"
    for name in ("reliability", "roc", "tradeoff")
    for kind in ("csv", "png")
]
FILES = sorted(["cases.csv", "metrics.json", "sizes.png", *CURVES])
Answer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


class Fake:
    """A predictor that answers each image with `answer(image)` and counts how often it was asked."""

    name = "fake"
    threshold = 0.5

    def __init__(self, answer: Answer, min_lesion_fraction: float = 0.0) -> None:
        self.answer, self.min_lesion_fraction, self.asked = (
            answer,
            min_lesion_fraction,
            0,
        )

    def probability(self, images: list[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        self.asked += len(images)
        return [self.answer(image) for image in images]


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Eight phantoms, the fourth and the eighth without lesion."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder, 8, size=(150, 190))
    return load_cases(folder)


def test_old_and_new_scores_never_lie_side_by_side(
    phantoms: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills, or one file cannot be replaced: all files stay as they were."""
    nothing = Fake(lambda image: np.zeros(image.shape, np.float32))
    everything = Fake(lambda image: np.ones(image.shape, np.float32))
    evaluate(nothing, phantoms, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(before) == FILES
    replace = Path.replace
    for fails in ("metrics.json", "cases.csv", "roc.png", "tradeoff.csv"):

        def busy(self: Path, target: Path, fails: str = fails) -> Path:
            if Path(target).name == fails and self.suffix != ".old":
                raise OSError(errno.ENOSPC, "full")
            return replace(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", busy)
            with pytest.raises(InputError, match=f"{fails}: the disk is full"):
                evaluate(everything, phantoms, tmp_path, progress=False)
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert after == before, fails


def knowing(
    cases: list[Case], change: Callable[[NDArray[np.bool_]], NDArray[Any]]
) -> Answer:
    """Answers each image with what `change` makes of its true mask."""
    truths = {case.read_image().tobytes(): case.read_mask() for case in cases}
    return lambda image: change(truths[image.tobytes()]).astype(np.float32)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "cases.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("model", "precision", "recall", "dice"),
    [("all-foreground", 0.0757, 0.79487, 0.1261), ("all-background", 0, 0, 0)],
)
def test_constant_answers_give_what_the_paper_prints_for_its_failed_models(
    real_data: Path,
    tmp_path: Path,
    model: str,
    precision: float,
    recall: float,
    dice: float,
) -> None:
    cases = split_cases(load_cases(real_data / "busi"), "paper")["test"]
    metrics = evaluate(load_predictor(model), cases, tmp_path, progress=False)
    paper = metrics["conventions"]["paper"]
    assert metrics["images"] == 78 and metrics["normals"]["images"] == 16
    assert paper["precision"] == pytest.approx(precision, abs=2e-4)
    assert paper["iou"] == pytest.approx(precision, abs=2e-4)
    assert paper["recall"] == pytest.approx(recall, abs=1e-5)
    assert paper["dice"] == paper["f1"] == pytest.approx(dice, abs=2e-4)
    assert metrics["auc"] == 0.5
    assert metrics["normals"]["any_false_positive"] == (model == "all-foreground")
    empty = 0 if model == "all-foreground" else 16 / 78
    assert metrics["conventions"]["all"]["dice"] == pytest.approx(paper["dice"] + empty)


@pytest.mark.parametrize(("split", "copied"), [("paper", 35), ("paper-clean", 0)])
def test_the_command_says_how_many_images_have_a_copy_in_another_subset(
    real_data: Path, tmp_path: Path, split: str, copied: int
) -> None:
    text = evaluate_command(
        "all-background",
        data=real_data / "busi",
        split=split,
        subset="test",
        out=tmp_path,
    )
    assert ("35 of these 78 images have a near-copy" in text) == (copied > 0)
    assert (
        json.loads((tmp_path / "metrics.json").read_text())["about"]["leaked"] == copied
    )


def test_what_a_plain_folder_cannot_tell_is_said(tmp_path: Path) -> None:
    """Near-copies are unknown without groups; and a table need not name all images."""
    data = tmp_path / "data"
    write_phantoms(data, 10, size=(128, 160))
    (data / "labels.csv").unlink()
    names = sorted(case.name for case in load_cases(data))
    subsets = ["train"] * 5 + ["test"] * 3
    lines = [",".join(row) for row in zip(names, subsets, strict=False)]
    table = tmp_path / "split.csv"
    table.write_text("\n".join(["file,subset", *lines]))
    out = tmp_path / "out"
    text = evaluate_command("all-background", data, str(table), out=out)
    assert f"2 of 10 images are in no subset of {table}" in text
    assert f"sonoseg data check {data} --split {table} finds them" in text
    about = json.loads((out / "metrics.json").read_text())["about"]
    assert about["leaked"] is None
    text = evaluate_command("all-background", data, "all", out=out)
    assert "near-copies" not in text and "no subset" not in text


def test_a_perfect_answer_scores_one_where_it_can(
    phantoms: list[Case], tmp_path: Path
) -> None:
    metrics = evaluate(
        Fake(knowing(phantoms, lambda mask: mask)),
        phantoms,
        tmp_path,
        (150, 190),
        False,
    )
    for convention, best in (("paper", 0.75), ("lesion", 1), ("all", 1)):
        for metric in METRICS:
            assert metrics["conventions"][convention][metric] == best, (
                convention,
                metric,
            )
    assert metrics["auc"] == 1
    assert (
        metrics["normals"]["any_false_positive"]
        == metrics["normals"]["false_lesion"]
        == 0
    )
    surface = metrics["surface"]
    assert (
        surface["images"],
        surface["missed"],
        surface["hd95"],
        surface["assd_mm"],
    ) == (
        6,
        0,
        0,
        0,
    )


def test_metrics_json_has_the_promised_keys_and_plain_numbers(
    phantoms: list[Case], tmp_path: Path
) -> None:
    returned = evaluate(
        load_predictor("all-foreground"), phantoms, tmp_path, progress=False
    )
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics == returned
    keys = [
        "about",
        "model",
        "images",
        "conventions",
        "lesions",
        "normals",
        "auc",
        "calibration_error",
        "surface",
        "sizes",
    ]
    assert list(metrics) == keys
    assert metrics["model"] == {
        "name": "all-foreground",
        "threshold": 0.5,
        "min_lesion_fraction": 0.0,
        "weights": "none",
        "temperature": None,
    }
    assert list(metrics["conventions"]) == list(CONVENTIONS)
    for scores in metrics["conventions"].values():
        assert list(scores) == [
            key for name in METRICS for key in (name, f"{name}_interval")
        ]
        for metric in METRICS:
            # Where all is called lesion, the recall of each is 1: nothing to resample.
            low, high = scores[f"{metric}_interval"] or 2 * [scores[metric]]
            assert low <= scores[metric] <= high
    assert {"images", "any_false_positive", "false_lesion"} <= set(metrics["normals"])


def test_sizes_are_those_that_segment_reports(tmp_path: Path) -> None:
    """One bundle, on phantoms of 0.1 mm, and on a pack of them, whose images are squashed."""
    folder, answers = tmp_path / "phantoms", {}
    write_phantoms(folder, 6, size=(300, 420))
    cases = load_cases(folder)
    segmenter = load("default")
    for case in cases:
        answers[case.name] = segmenter.segment(case.read_image(), case.spacing)
    metrics = evaluate(
        load_predictor("default"), cases, tmp_path / "out", progress=False
    )
    for row in rows_of(tmp_path / "out"):
        lesions = answers[row["file"]].lesions
        if row["label"] == "normal":
            assert row["size_unit"] == row["reference_area"] == row["area"] == ""
            continue
        assert row["size_unit"] == "mm" and len(lesions) == 1
        expected = lesions[0].to_dict()
        for name in ("longest_diameter", "perpendicular_diameter", "area"):
            assert float(row[name]) == pytest.approx(expected[name], rel=1e-5), name
    sizes = metrics["sizes"]
    assert sizes["images"] == sizes["images_metric"] == 5 and sizes["missed"] == 0
    assert sizes["longest_diameter"]["absolute"]["icc"] > 0.9
    pack_folder(folder, 224, tmp_path / "pack.safetensors", progress=False)
    packed = load_cases(tmp_path / "pack.safetensors")
    truths = {case.read_image().tobytes(): case.read_mask() for case in packed}
    perfect = Fake(lambda image: truths[image.tobytes()].astype(np.float32))
    sizes = evaluate(perfect, packed, tmp_path / "packed", progress=False)["sizes"]
    assert sizes["area"]["absolute"]["median_error"] == 0
    by_file = {row["file"]: row for row in rows_of(tmp_path / "out")}
    for row in rows_of(tmp_path / "packed"):
        if row["label"] == "normal":
            continue
        for name in ("longest_diameter", "perpendicular_diameter"):
            own = float(by_file[row["file"]][f"reference_{name}"])
            assert float(row[name]) == pytest.approx(own, rel=0.03), name


def test_images_of_one_patient_have_no_intervals(
    phantoms: list[Case], tmp_path: Path
) -> None:
    of_one = [replace(case, group="one") for case in phantoms]
    random = np.random.default_rng(0)
    noise = Fake(lambda image: random.random(image.shape).astype(np.float32))
    metrics = evaluate(noise, of_one, tmp_path, progress=False)
    for scores in (*metrics["conventions"].values(), metrics["surface"]):
        intervals = [value for name, value in scores.items() if "interval" in name]
        assert intervals and set(intervals) == {None}
    assert metrics["normals"]["false_lesion_interval"] is None
    text = describe(metrics)
    assert " to " not in text and "(–), ASSD" in text


def test_no_false_lesion_at_all_is_not_none_for_sure(
    phantoms: list[Case], tmp_path: Path
) -> None:
    nothing = Fake(lambda image: np.zeros(image.shape, np.float32))
    metrics = evaluate(nothing, phantoms, tmp_path, progress=False)
    low, high = metrics["normals"]["false_lesion_interval"]
    assert (low, high) == (0, pytest.approx(0.842, abs=1e-3))  # 0 of 2, Clopper–Pearson


def test_the_files_agree_with_masks_counted_here(
    phantoms: list[Case], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    answers = {
        case.name: random.random((40, 50)).astype(np.float32) for case in phantoms
    }
    waiting = iter(answers.values())
    metrics = evaluate(
        Fake(lambda image: next(waiting)), phantoms, tmp_path, (40, 50), False
    )
    rows = rows_of(tmp_path)
    assert [row["file"] for row in rows] == [case.name for case in phantoms]
    truths = [resize_mask(case.read_mask(), (40, 50)) for case in phantoms]
    for row, case, truth in zip(rows, phantoms, truths, strict=True):
        drawn = answers[case.name] >= 0.5
        assert (
            int(row["tp"]) == (drawn & truth).sum()
            and int(row["fp"]) == (drawn & ~truth).sum()
        )
        assert (
            int(row["fn"]) == (~drawn & truth).sum()
            and int(row["tn"]) == (~drawn & ~truth).sum()
        )
        assert (row["label"], row["group"]) == (case.label, case.group)
        assert 0 < int(row["largest_false_part"]) <= int(row["fp"])
        distances = border_distances(drawn, truth) if truth.any() else None
        measured = (float(row["hd95"]), float(row["assd"])) if row["hd95"] else None
        assert measured == (distances and pytest.approx(distances, rel=1e-5))
    for metric in METRICS:
        mean = np.mean([float(row[metric]) for row in rows])
        assert mean == pytest.approx(metrics["conventions"]["paper"][metric], abs=1e-6)
    exact = roc_auc_score(np.ravel(truths), np.ravel(list(answers.values())))
    assert metrics["auc"] == pytest.approx(exact, abs=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    with (tmp_path / "roc.csv").open(newline="") as file:
        points = np.array([list(map(float, row)) for row in list(csv.reader(file))[1:]])
    assert np.sum(
        np.diff(points[:, 1]) * (points[1:, 2] + points[:-1, 2]) / 2
    ) == pytest.approx(exact, abs=1e-3)
    with Image.open(tmp_path / "roc.png") as picture:
        assert min(picture.size) > 400


def test_a_map_on_the_predictors_own_grid_is_scaled_to_the_evaluations(
    phantoms: list[Case], tmp_path: Path
) -> None:
    def left_half(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.repeat(np.float32([[1, 0]]), 2, axis=0)

    evaluate(Fake(left_half), phantoms, tmp_path, (60, 80), False)
    for row in rows_of(tmp_path):
        assert int(row["tp"]) + int(row["fp"]) == 60 * 40


def test_small_parts_are_dropped_before_counting_as_the_reader_does(
    phantoms: list[Case], tmp_path: Path
) -> None:
    def speck_and_blob(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        probability = np.zeros((100, 100), dtype=np.float32)
        probability[:2, :3] = probability[50:60, 50:60] = 1
        return probability

    normals = [case for case in phantoms if case.label == "normal"]
    evaluate(Fake(speck_and_blob, 0.001), normals, tmp_path, (100, 100), False)
    assert [row["fp"] for row in rows_of(tmp_path)] == ["100", "100"]
    evaluate(Fake(speck_and_blob), normals, tmp_path, (100, 100), False)
    assert [(row["fp"], row["largest_false_part"]) for row in rows_of(tmp_path)] == [
        ("106", "100")
    ] * 2


def test_a_subset_of_normals_alone_has_neither_auc_nor_lesion_scores(
    phantoms: list[Case], tmp_path: Path
) -> None:
    normals = [case for case in phantoms if case.label == "normal"]
    metrics = evaluate(
        load_predictor("all-background"), normals, tmp_path, progress=False
    )
    assert metrics["auc"] is None and metrics["conventions"]["lesion"]["dice"] is None
    assert metrics["conventions"]["all"]["dice"] == 1
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    assert (
        tmp_path / "roc.csv"
    ).read_text() == "threshold,false_positive_rate,true_positive_rate\n"


@pytest.mark.parametrize(
    "answer",
    [
        lambda image: np.full(image.shape, np.nan, dtype=np.float32),
        lambda image: np.full(image.shape, 1.5, dtype=np.float32),
        lambda image: np.zeros((3, *image.shape), dtype=np.float32),
        lambda image: np.zeros((0, 4), dtype=np.float32),
    ],
    ids=["nan", "logits", "three channels", "empty"],
)
def test_an_answer_that_is_no_probability_map_is_named_and_nothing_is_written(
    phantoms: list[Case], tmp_path: Path, answer: Answer
) -> None:
    with pytest.raises(
        InputError,
        match=r"fake: does not return one probability per pixel .* for synthetic_00\.png",
    ):
        evaluate(Fake(answer), phantoms, tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("problem", ["image", "mask", "size"])
def test_a_bad_file_is_found_before_the_first_prediction(
    tmp_path: Path, problem: str
) -> None:
    write_phantoms(tmp_path / "data", 4, size=(150, 190))
    cases = load_cases(tmp_path / "data")
    bad = cases[-2].image if problem == "image" else cases[-2].masks[0]
    if problem == "size":
        Image.new("L", (31, 47)).save(bad)
    else:
        bad.write_bytes(bad.read_bytes()[:200])
    predictor = Fake(lambda image: np.zeros(image.shape, dtype=np.float32))
    with pytest.raises(InputError, match=bad.name):
        evaluate(predictor, cases, tmp_path / "out", progress=False)
    assert predictor.asked == 0 and list((tmp_path / "out").iterdir()) == []


def test_no_images_and_no_folder_to_write_to_are_told_at_once(
    phantoms: list[Case], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="no images in this subset"):
        evaluate(load_predictor("all-background"), [], tmp_path)
    taken = tmp_path / "file"
    taken.touch()
    with pytest.raises(InputError, match="not a folder"):
        evaluate(load_predictor("all-background"), phantoms, taken)


def test_an_interrupted_evaluation_leaves_the_earlier_one_as_it_was(
    phantoms: list[Case], tmp_path: Path
) -> None:
    evaluate(load_predictor("all-foreground"), phantoms, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(Fake(interrupted), phantoms, tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_command_returns_a_table_and_where_the_files_are(
    phantoms: list[Case], tmp_path: Path
) -> None:
    data = phantoms[0].image.parent.parent
    printed = evaluate_command("all-foreground", data=data, out=tmp_path)
    border = "border distance over 6 images: HD95 "
    for words in (
        "all-foreground on all/test, 8 images",
        "convention",
        "lesion",
        "0.750",
        border,
        str(tmp_path),
    ):
        assert words in printed
    assert "2 images without lesion: 100.0% with a false lesion" in printed


def test_two_evaluations_never_write_into_one_folder_at_once(
    phantoms: list[Case], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "evaluate",
        "all-foreground",
        "--data",
        str(phantoms[0].image.parent.parent),
        "--out",
        str(tmp_path),
    ]
    with held(tmp_path):
        assert main(words) == 2
        assert (
            f"{tmp_path}: another sonoseg command is writing into this folder; wait"
            in capsys.readouterr().err
        )
        assert not (tmp_path / "metrics.json").exists()
    assert main(words) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["images"] == len(
        phantoms
    )


def test_evaluating_constant_answers_does_not_load_torch() -> None:
    code = "import sys, sonoseg.evaluate.evaluate; assert 'torch' not in sys.modules"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=False
        ).returncode
        == 0
    )


def test_counting_and_scoring_load_nothing_heavy() -> None:
    modules = ", ".join(
        f"sonoseg.core.{name}"
        for name in ("counts", "metrics", "intervals", "roc", "reliability")
    )
    heavy = "{'torch', 'matplotlib', 'scipy', 'sklearn'}"
    code = f"import sys, {modules}; assert not {heavy} & set(sys.modules), sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
