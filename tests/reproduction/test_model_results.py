"""Tables from made-up results: answers that are the truth moved by some pixels, so that every number can be known."""

import csv
import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

from sonoseg.data import load_cases, split_cases
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluate import evaluate
from sonoseg.reproduction import added_tables
from sonoseg.reproduction import paper_tables as paper
from sonoseg.reproduction.jobs import plan
from sonoseg.reproduction.model_results import (
    best_of,
    check_results,
    is_ours,
    printed,
    read_results,
)
from sonoseg.reproduction.write_report import all_tables, draw_curves


class Moved:
    """Answers the true mask, moved to the right."""

    threshold, min_lesion_fraction = 0.5, 0.0

    def __init__(self, cases, pixels):
        self.name, self.pixels = "moved", pixels
        self.truth = {case.read_image().tobytes(): case.read_mask() for case in cases}

    def probability(self, images):
        return [
            np.roll(self.truth[image.tobytes()], self.pixels, 1).astype(np.float32)
            * 0.9
            for image in images
        ]


@pytest.fixture(scope="module")
def subsets(tmp_path_factory):
    from sonoseg.data.phantom import write_phantoms

    folder = tmp_path_factory.mktemp("made-up")
    write_phantoms(folder, 16, seed=3, size=(128, 160))
    return split_cases(load_cases(folder), "grouped")


@pytest.fixture(scope="module")
def out(subsets, tmp_path_factory):
    """Model 1 is exact, model 2 moved by 4 and 8 pixels in its two seeds, the rival by 20; model 3 is missing."""
    out = tmp_path_factory.mktemp("out")
    cases = [case for part in subsets.values() for case in part]
    moves = {
        ("model-1", 0): 0,
        ("model-2", 0): 4,
        ("model-2", 1): 8,
        ("adu-net", 0): 20,
    }
    for job in plan(
        ("model-1", "model-2", "adu-net"), ("grouped", "grouped-clean"), (0, 1)
    ):
        pixels = moves.get((job.model, job.seed))
        if pixels is None:
            continue
        for name, part in subsets.items():
            moved = Moved(cases, pixels + 4 * (job.split == "grouped-clean"))
            evaluate(
                moved, part, job.folder(out) / name, progress=False, pictures=False
            )
        cost = {
            "total_params": 10,
            "trainable_params": 5,
            "gflops": 1.5,
            "inference_ms": 2.0,
            "peak_memory_mb": None,
        }
        result = {
            **asdict(job),
            "training_seconds": 120.0,
            "epochs": 3,
            "cost": {**cost, "device": "CPU", "threads": 1},
        }
        (job.folder(out) / "result.json").write_text(json.dumps(result))
    return out


def jobs(*models, splits=("grouped",), seeds=(0,)):
    return plan(models, splits, seeds)


def test_the_paper_s_tables_are_read_by_the_catalog_s_names():
    assert printed("table1")["model-1"]["dice"] == 0.6140
    assert printed("auc")["model-2"] == {
        "train_auc": None,
        "validation_auc": 0.89,
        "test_auc": 0.94,
    }
    assert set(printed("table5")) == {
        "mrfe-cnn",
        "adu-net",
        "swin-unet",
        "ddra-net",
        "dpnet",
        "model-1",
    }


def test_the_paper_s_figures_under_lesion_are_the_printed_ones_over_the_share_of_lesions(
    out,
):
    (row,) = read_results(out, jobs("model-1"))
    table = paper.table_1([row], "grouped", "lesion")
    cells = dict(zip(table.header, table.rows[0], strict=True))
    assert cells["dice_paper"] == pytest.approx(0.6140 * 78 / 62)
    assert cells["dice_ours"] > 0.97  # exact but for the grid
    assert cells["dice_difference"] == pytest.approx(
        cells["dice_ours"] - cells["dice_paper"]
    )
    assert dict(zip(table.shown_header, table.shown_rows[0], strict=True))[
        "dice"
    ].startswith("0.772 / 0.9")


def test_seeds_are_averaged_image_by_image(out):
    one, two = (
        read_results(out, jobs("model-2", seeds=seeds))[0] for seeds in ((0,), (1,))
    )
    (both,) = read_results(out, jobs("model-2", seeds=(0, 1)))
    mean = (one.scores("all", "dice") + two.scores("all", "dice")) / 2
    assert both.scores("all", "dice") == pytest.approx(mean)
    low, high = both.interval("lesion")
    assert low <= both.scores("lesion", "dice").mean() <= high
    table = added_tables.seeds([both], "grouped")
    assert table.rows[0][1] == 2
    assert table.rows[0][2] < table.rows[0][3] < table.rows[0][4]


def test_a_model_that_is_not_there_is_a_row_that_says_so(out):
    rows = read_results(out, jobs("model-1", "model-3"))
    assert [row.done for row in rows] == [True, False]
    shown = paper.table_1(rows, "grouped", "paper").shown_rows
    assert shown[1][4] == "not done yet"


def test_paired_differences_are_against_model_1_and_corrected(out):
    rows = read_results(out, jobs("model-1", "model-2", "adu-net"))
    table = added_tables.paired(rows, "grouped")
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        assert cells["low"] <= cells["difference"] <= cells["high"] < 0
        assert cells["p"] <= cells["p (Holm)"] <= 1
    assert len(table.rows) == 4


def test_models_from_other_first_weights_are_not_compared_with_model_1(out):
    rows = read_results(out, jobs("model-1", "model-2", "adu-net"))
    starts = {"model-1": "a", "model-2": "b", "adu-net": "none"}
    for row in rows:
        for result in row.results:
            result["encoder_weights"] = starts[row.model]
    table = added_tables.paired(rows, "grouped")
    assert {row[0] for row in table.rows} == {"adu-net (reconstruction)"}
    assert table.caption.endswith("from other weights than Model 1's: model-2.")


def test_our_best_is_chosen_on_validation_and_is_no_rival(out):
    rows = read_results(out, jobs("adu-net", "model-2", "model-1"))
    assert best_of(rows).model == "model-1"
    assert best_of(rows[:1]) is None
    assert is_ours("default")
    assert not is_ours("swin-unet")
    table = paper.table_6(rows[:1], rows, "grouped")
    assert "model-1" in table.caption
    assert {row[0] for row in table.rows} == {"adu-net (reconstruction)"}


def test_what_a_near_copy_is_worth_within_a_split(out, subsets):
    (row,) = read_results(out, jobs("model-2"))
    lesions = [case.name for case in subsets["test"] if case.label != "normal"]
    (cells,) = added_tables.leak([row], "grouped", {lesions[0]}).rows
    assert cells[1] - cells[2] == pytest.approx(cells[3])
    assert added_tables.leak([row], "grouped", set(lesions)).rows == []


def test_what_leakage_is_worth_needs_both_splits(out):
    rows = read_results(
        out, jobs("model-1", "model-2", splits=("grouped", "grouped-clean"))
    )
    table = added_tables.across_splits(rows)
    assert [row[:2] for row in table.rows] == [
        ["model-1", "paper"], ["model-1", "lesion"], ["model-2", "paper"], ["model-2", "lesion"],
    ]  # fmt: skip
    assert all(row[4] < 0 for row in table.rows)
    assert added_tables.across_splits(rows[:2]).rows == []


def test_every_table_has_as_many_cells_as_columns(out):
    rows = read_results(
        out,
        jobs(
            "model-1",
            "model-2",
            "model-3",
            "adu-net",
            splits=("grouped", "grouped-clean"),
        ),
    )
    tables = all_tables(rows, {"grouped": set(), "grouped-clean": set()})
    assert len({table.name for table in tables}) == len(tables) > 20
    for table in tables:
        assert all(len(row) == len(table.header) for row in table.rows), table.name
        assert all(len(row) == len(table.shown_header) for row in table.shown_rows), (
            table.name
        )


def test_results_of_one_split_are_of_the_same_images(out):
    models = ("model-1", "model-2", "model-3", "adu-net")
    splits = ("grouped", "grouped-clean")
    check_results(read_results(out, jobs(*models, splits=splits, seeds=(0, 1))))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda head, *rows: (head, *rows[:-1]), "holds other images than"),
        (lambda head, *rows: (head, *rows[::-1]), "has another order of images than"),
        (
            lambda head, *rows: (head, *(row.replace(",synth", ",s") for row in rows)),
            "has other groups of images than",
        ),
    ],
)
def test_results_that_cannot_be_compared_image_by_image_are_refused(
    out, tmp_path, change, problem
):
    """Even without the metrics that the scores must fit."""
    shutil.copytree(out, tmp_path / "out")
    wanted = jobs("model-1", "model-2", seeds=(0, 1))
    test = wanted[-1].folder(tmp_path / "out") / "test"
    (test / "metrics.json").unlink()
    table = (test / "cases.csv").read_text().splitlines()
    changed = change(*table)
    assert list(changed) != table
    (test / "cases.csv").write_text("\n".join(changed))
    with pytest.raises(InputError, match=f"model-2-grouped-1.*{problem}"):
        check_results(read_results(tmp_path / "out", wanted))


def test_a_damaged_curve_is_one_line(out, tmp_path):
    (job,) = jobs("model-1")
    shutil.copytree(job.folder(out), job.folder(tmp_path))
    file = job.folder(tmp_path) / "train" / "roc.csv"
    file.write_text("false_positive_rate,true_positive_rate\n0.5,high\n")
    with pytest.raises(InputError, match=r"train/roc\.csv: holds a rate that is no"):
        draw_curves(tmp_path, read_results(tmp_path, [job]))
    assert not list(tmp_path.glob("*.png"))


def test_shipped_tables_are_the_paper_s(real_data):
    """The same figures as the specification's, where that is at hand."""
    source = real_data.parent / "paper"
    if not source.is_dir():
        pytest.skip("the specification is not here")
    for name in ("table1", "auc", "table5"):
        own = printed(name)
        with (source / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            assert len(list(csv.DictReader(file))) == len(own)


def test_costs_name_the_machine_of_each_row(out, tmp_path):
    shutil.copytree(out, tmp_path / "out")
    wanted = plan(("model-1", "model-2", "model-3"), ("grouped",), (0, 1))
    devices = {("model-1", 0): "CPU", ("model-2", 0): "CPU", ("model-2", 1): "Card"}
    for job in wanted:
        file = job.folder(tmp_path / "out") / "result.json"
        if (job.model, job.seed) in devices:
            result = json.loads(file.read_text())
            result["cost"]["device"] = devices[job.model, job.seed]
            result["cost"]["threads"] = 1 + (job.model == "model-2")
            file.write_text(json.dumps(result))
    table = added_tables.costs(read_results(tmp_path / "out", wanted), "grouped")
    assert table.header[-2:] == ("device", "threads")
    found = [row[-2:] for row in table.rows]
    assert found == [["CPU", "1"], ["CPU, Card", "2"]]  # Model 3 did not run
