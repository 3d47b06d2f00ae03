"""The whole of it, small: every model, a killed run, a model that fails. `tests/test_cluster.py` has the workers."""

import csv
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests import forked

from sonoseg import jobs
from sonoseg.cli import main
from sonoseg.data.phantom import write_phantoms
from sonoseg.reproduction import work


def table(out, name):
    with (out / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def epochs(folder):
    """The log of a run, without the seconds."""
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key != "seconds"}
            for row in csv.DictReader(file)
        ]


OF_EACH_KIND = ("model-1", "model-11", "swin-unet", "mrfe-cnn", "default")
"""With CBAM, with Non-Local and frozen, the published rival, a reconstruction, the bundled model.

`trained` has one of two encoders without attention.
"""


@pytest.mark.timeout(1800)
def test_the_complete_report_of_a_model_of_each_kind(words, tmp_path):
    assert main([*words, "--models", ",".join(OF_EACH_KIND)]) == 0
    out = tmp_path / "out"
    for name in OF_EACH_KIND[:-1]:
        result = json.loads(
            (out / "runs" / f"{name}-grouped-0" / "result.json").read_text()
        )
        assert result["epochs"] == 1
    assert [row["model"] for row in table(out, "table1-grouped-paper")] == list(
        OF_EACH_KIND[:2]
    )
    for row in table(out, "table1-grouped-paper"):
        assert float(row["dice_difference"]) == pytest.approx(
            float(row["dice_ours"]) - float(row["dice_paper"]), abs=1e-5
        )
        assert row["parameters_ours"] == row["parameters_paper"]
    rivals = table(out, "table5-grouped")
    assert [row["model"].partition(" ")[0] for row in rivals[:2]] == [
        "swin-unet",
        "mrfe-cnn",
    ]
    assert ["reconstruction" in row["model"] for row in rivals[:2]] == [False, True]
    assert len(table(out, "costs-grouped")) == 4
    assert {row["layer"] for row in table(out, "claim-grouped")} >= {
        "bottleneck",
        "stage1",
        "stage4",
    }
    page = (out / "report.html").read_text(encoding="utf-8")
    for words_there in (
        "REDUCED",
        "Table 3",
        "Table 4",
        "Table 6",
        "Does the claim hold?",
        "HD95",
        "calibration error",
    ):
        assert words_there in page
    assert "http" not in page.replace("http-equiv", "")
    assert (out / "report.md").read_text(encoding="utf-8").count("\n## ") >= 13


def test_what_is_done_is_not_done_again_and_other_settings_are_refused(
    words, with_model_15, monkeypatch, capsys
):
    monkeypatch.setattr(work, "do_job", None)  # would fail if it were called
    assert main([*words, "--models", "15"]) == 0
    capsys.readouterr()
    assert main([*words, "--models", "15", "--batch", "2"]) == 2
    assert (
        "holds model-15 with other settings: batch (4 there, 2 asked for)"
        in capsys.readouterr().err
    )


def test_the_report_is_of_all_that_the_folder_holds(words, with_model_15, capsys):
    """A model on one split, then another on another: the second call's report has both, and the first's settings."""
    out = with_model_15
    assert main([*words, "--models", "default", "--split", "grouped-1"]) == 0
    assert "1 of 1 done" in capsys.readouterr().out.splitlines()[-1]
    assert [row["model"] for row in table(out, "dice-grouped")] == ["model-15"]
    assert [row["model"] for row in table(out, "dice-grouped-1")] == [
        "sonoseg-1, shipped"
    ]
    assert "2 of 2 models" in (out / "report.md").read_text(encoding="utf-8")
    assert main([*words, "--models", "16", "--batch", "2"]) == 2
    assert (
        "holds model-15 with other settings: batch (4 there, 2 asked for)"
        in capsys.readouterr().err
    )


def test_images_that_changed_are_not_taken_for_those_that_were_scored(
    words, phantoms, tmp_path, capsys
):
    data = Path(shutil.copytree(phantoms, tmp_path / "data"))
    line = [*words, "--models", "default", "--data", str(data)]
    assert main(line) == 0
    assert main(line) == 0
    for mask in (data / "masks").iterdir():
        with Image.open(mask) as picture:
            pixels = np.array(picture)
        Image.fromarray(np.roll(pixels, 30, 1)).save(mask)
    capsys.readouterr()
    assert main(line) == 2
    assert (
        "holds default with other images or masks; choose another --out"
        in capsys.readouterr().err
    )


def test_groups_that_changed_are_refused_before_any_work(
    words, phantoms, tmp_path, monkeypatch, capsys
):
    """With a split of its own, which stays as it is. One report would mix patients of before and after."""
    data = Path(shutil.copytree(phantoms, tmp_path / "data"))
    table = data / "labels.csv"
    files = [line.partition(",")[0] for line in table.read_text().splitlines()[1:]]
    subsets = ["train"] * 4 + ["validation"] * 3 + ["test"] * 3
    rows = [f"{file},{part}" for file, part in zip(files, subsets, strict=True)]
    split = tmp_path / "own.csv"
    split.write_text("\n".join(["file,subset", *rows]))
    line = [*words, "--models", "default", "--data", str(data), "--split", str(split)]
    assert main(line) == 0
    table.write_text(table.read_text().replace(f",{files[-1]},", ",one,"))
    monkeypatch.setattr(work, "do_job", None)  # would fail if it were called
    capsys.readouterr()
    assert main([*line, "--models", "default,15"]) == 2
    folder = tmp_path / "out" / "runs" / "default-own-0"
    problem = "holds default with other labels, groups or spacings"
    assert f"{folder}: {problem}; choose another --out" in capsys.readouterr().err
    assert main([*line, "--report-only"]) == 2
    problem = "has other labels, groups or spacings than default-own-0"
    assert f"--data {data}: {problem}" in capsys.readouterr().err


def test_a_result_of_this_call_that_does_not_fit_the_others_is_not_reported(
    words, with_model_15, monkeypatch, capsys
):
    """Such as one of a machine whose copy of the data differs. The hint can be followed."""
    out = with_model_15
    run = out / "runs" / "default-grouped-0"
    real = work.do_job

    def elsewhere(job, options, material):
        real(job, options, material)
        cases = run / "test" / "cases.csv"
        cases.write_text(cases.read_text().replace(",synth", ",s"))

    report = (out / "report.md").read_text(encoding="utf-8")
    monkeypatch.setattr(work, "do_job", elsewhere)
    line = [*words, "--models", "15,default"]
    for more in ([], [], ["--report-only"]):
        assert main([*line, *more]) == 2
        error = capsys.readouterr().err
        assert "has other groups of images than" in error
        assert "; delete the run folder that is wrong, and reproduce its" in error
    assert (out / "report.md").read_text(encoding="utf-8") == report
    shutil.rmtree(run)
    monkeypatch.setattr(work, "do_job", real)
    assert main(line) == 0


def test_a_report_is_of_the_data_of_its_results_whatever_that_is_named_now(
    words, phantoms, with_model_15, tmp_path, capsys
):
    """Also of no other images of the same names, whose near-copies would be taken for those of the results."""
    renamed = tmp_path / "renamed"
    renamed.symlink_to(phantoms)
    other = tmp_path / "phantoms"
    write_phantoms(other, 10, seed=2, size=(128, 160))
    line = [*words, "--models", "15", "--report-only", "--data"]
    assert main([*line, str(renamed)]) == 0
    report = (with_model_15 / "report.md").read_text(encoding="utf-8")
    assert "data phantoms, split grouped" in report
    capsys.readouterr()
    assert main([*line, str(other)]) == 2
    problem = "has other images or masks than model-15-grouped-0, a result of phantoms"
    hint = "give the data that the results are of"
    assert f"--data {other}: {problem}; {hint}" in capsys.readouterr().err
    assert (with_model_15 / "report.md").read_text(encoding="utf-8") == report


def test_a_model_that_fails_is_shown_as_failed_and_tried_again(
    words, with_model_15, monkeypatch, capsys
):
    """It failed when all was done but its result; so the second attempt is short."""
    out = with_model_15
    run = out / "runs" / "model-15-grouped-0"
    (run / "result.json").unlink()
    real = work.do_job

    def fail_first(job, options, material):
        if job.model == "model-15":
            raise RuntimeError("no luck")
        real(job, options, material)

    monkeypatch.setattr(jobs, "PAUSE", 0.0)
    monkeypatch.setattr(work, "do_job", fail_first)
    assert main([*words, "--models", "15,default"]) == 1
    assert "model-15-grouped-0: RuntimeError: no luck" in capsys.readouterr().out
    assert (
        table(out, "table1-grouped-paper")[0]["failure"]
        == "failed: RuntimeError: no luck"
    )
    assert "failed: RuntimeError: no luck" in (out / "report.html").read_text(
        encoding="utf-8"
    )
    assert (run / "failed.json").exists()
    monkeypatch.setattr(work, "do_job", real)
    assert main([*words, "--models", "15,default"]) == 0
    assert table(out, "table1-grouped-paper")[0]["failure"] == ""
    assert not (run / "failed.json").exists()
    assert (run / "result.json").exists()


@pytest.mark.timeout(1800)
def test_a_killed_reproduction_goes_on_where_it_was(words, tmp_path):
    """Killed while it trains its second model, in the middle of five epochs."""
    more = [*words, "--models", "default,15", "--epochs", "5"]
    folder = tmp_path / "out" / "runs" / "model-15-grouped-0"
    process = forked.start(more, tmp_path)
    while not (folder / "last.ckpt").exists():
        assert process.is_alive()
        time.sleep(0.02)
    process.kill()
    process.join()
    before = epochs(folder)
    first = (
        (tmp_path / "out" / "runs" / "default-grouped-0" / "result.json")
        .stat()
        .st_mtime_ns
    )
    assert main(more) == 0
    assert (
        tmp_path / "out" / "runs" / "default-grouped-0" / "result.json"
    ).stat().st_mtime_ns == first
    assert epochs(folder)[: len(before)] == before
    assert len(epochs(folder)) == 5


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--models", "model-99"], "model-99: no such model"),
        (["--split", "paper"], "paper: this split is only for BUSI"),
        (["--models", "15", "--size", "33"], "--size 33: is not a multiple of 32"),
        (["--encoder-weights", "nowhere"], "nowhere: no such weights"),
    ],
)
def test_bad_input_is_one_line_before_any_work(words, tmp_path, capsys, more, problem):
    assert main([*words, "--models", "15", *more]) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_is_refused(words, tmp_path, capsys):
    (tmp_path / "out").write_text("")
    assert main([*words, "--models", "default"]) == 2
    assert "is a file, not a folder" in capsys.readouterr().err
    assert (tmp_path / "out").read_text() == ""
