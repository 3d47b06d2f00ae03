"""Leave one data set out: with one epoch of a tiny training, and the table against plain loops."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from sonoseg.cli import main
from sonoseg.core.counts import Counts
from sonoseg.data.phantom import write_phantoms
from sonoseg.deploy.calibration import Calibration, save_calibration
from sonoseg.deploy.familiarity import Familiarity
from sonoseg.evaluate.cross_table import Reading, describe, write_readings
from sonoseg.evaluate.evaluated import Evaluated
from sonoseg.train.run_folder import weights_hash


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory):
    """Two data sets of small synthetic images."""
    folder = tmp_path_factory.mktemp("hospitals")
    for number, name in enumerate(("north", "south")):
        write_phantoms(folder / name, 10, seed=100 * number, size=(128, 128))
    return [str(folder / "north"), str(folder / "south")]


@pytest.fixture(scope="module")
def crossed(hospitals, tmp_path_factory):
    """The folder of `sonoseg cross` after its first call."""
    out = tmp_path_factory.mktemp("crossed") / "cross"
    assert main(words(hospitals, out)) == 0
    return out


def words(hospitals, out):
    return [
        "cross", *hospitals, "--models", "sonoseg-1", "--out", str(out), "--epochs", "1",
        "--size", "32", "--encoder-weights", "none",
    ]  # fmt: skip


def rows(out):
    with (out / "cross.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_data_set_is_read_by_the_network_that_has_not_seen_it(crossed):
    found = {(row["read_on"], row["trained_on"]) for row in rows(crossed)}
    assert found == {("north", "south"), ("south", "north")}
    for name in ("north", "south"):
        folder = crossed / f"sonoseg-1-without-{name}-on-{name}"
        about = json.loads((folder / "metrics.json").read_text())["about"]
        assert about["trained_on"] == about["chosen_on"] == 0


def test_a_second_call_trains_and_reads_nothing_again(
    crossed, hospitals, monkeypatch, capsys
):
    before = rows(crossed)
    monkeypatch.setattr("sonoseg.evaluate.cross.evaluate", None)
    weights = crossed / "sonoseg-1-without-north" / "best.safetensors"
    changed = weights.stat().st_mtime_ns
    assert main(words(hospitals, crossed)) == 0
    assert weights.stat().st_mtime_ns == changed
    assert rows(crossed) == before
    assert "sonoseg-1-without-south" in capsys.readouterr().out


def test_what_was_read_is_read_again_when_its_masks_labels_or_spacings_change(
    crossed, hospitals, tmp_path
):
    data = tmp_path / "north"
    shutil.copytree(hospitals[0], data)
    run, out = crossed / "sonoseg-1-without-north", tmp_path / "out"
    command = ["cross", str(data), hospitals[1], "--runs", str(run), "--out", str(out)]
    assert main(command) == 0
    before = (out / "sonoseg-1-without-north-on-north" / "cases.csv").read_text()
    for path in (data / "masks").iterdir():
        Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    assert main(command) == 0
    turned = (out / "sonoseg-1-without-north-on-north" / "cases.csv").read_text()
    assert turned != before
    table = data / "labels.csv"
    table.write_text(table.read_text().replace("unknown", "benign"))
    assert main(command) == 0
    after = (out / "sonoseg-1-without-north-on-north" / "cases.csv").read_text()
    assert "unknown" in turned
    assert "unknown" not in after
    table.write_text(table.read_text().replace(",0.1\n", ",0.2\n"))
    assert main(command) == 0
    folder = out / "sonoseg-1-without-north-on-north"
    with (folder / "cases.csv").open(newline="") as file:
        wider = list(csv.DictReader(file))
    name = "reference_longest_diameter"
    narrow = [row[name] for row in csv.DictReader(after.splitlines())]
    assert [float(row[name] or 0) for row in wider] == pytest.approx(
        [2 * float(text or 0) for text in narrow], rel=1e-4
    )


def test_what_was_read_is_read_again_when_the_run_is_calibrated_or_no_longer_so(
    crossed, hospitals, tmp_path
):
    name, out = "sonoseg-1-without-north", tmp_path / "out"
    run = shutil.copytree(crossed / name, tmp_path / name)
    command = ["cross", *hospitals, "--runs", str(run), "--out", str(out)]
    temperature = 3.0
    report = {"temperature": temperature, "weights": weights_hash(run)}
    errors = []
    for is_calibrated in (False, True, False):
        if is_calibrated:
            save_calibration(run, Calibration(temperature, Familiarity(4), report))
        else:
            (run / "calibration.json").unlink(missing_ok=True)
        assert main(command) == 0
        metrics = json.loads((out / f"{name}-on-north" / "metrics.json").read_text())
        errors.append(metrics["calibration_error"])
    assert errors[0] == errors[2] != errors[1]


def test_a_run_reads_only_what_it_has_not_seen(crossed, hospitals, tmp_path):
    """The data sets of the trainings before it are named too, as they were first written."""
    first = crossed / "sonoseg-1-without-north"
    config = json.loads((first / "config.json").read_text())
    earlier = [config | {"data": "East+SOUTH"}, config | {"data": "West"}]
    for lineage, trained_on in (([], "south"), (earlier, "south+East+West")):
        run = tmp_path / trained_on / "run"
        shutil.copytree(first, run)
        changed = config | {"lineage": lineage}
        (run / "config.json").write_text(json.dumps(changed))
        out = tmp_path / trained_on / "out"
        assert main(["cross", *hospitals, "--runs", str(run), "--out", str(out)]) == 0
        found = {(row["read_on"], row["trained_on"]) for row in rows(out)}
        assert found == {("north", trained_on)}
    lineage = [config | {"data": "North"}]
    (run / "config.json").write_text(json.dumps(config | {"lineage": lineage}))
    assert main(["cross", *hospitals, "--runs", str(run), "--out", str(out)]) == 2


def test_a_renamed_copy_of_the_training_images_is_found_by_its_pixels(
    crossed, hospitals, tmp_path, capsys
):
    copy = tmp_path / "west"
    copy.symlink_to(hospitals[1])
    run = crossed / "sonoseg-1-without-north"
    command = ["cross", hospitals[0], str(copy), "--runs", str(run)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "has seen" in capsys.readouterr().err


def test_a_pack_of_another_size_cannot_be_evaluated(
    crossed, hospitals, tmp_path, capsys
):
    pack = tmp_path / "west.safetensors"
    west = tmp_path / "west"
    write_phantoms(west, 10, seed=200, size=(128, 128))
    assert main(["data", "pack", str(west), "--size", "64", "--out", str(pack)]) == 0
    run = crossed / "sonoseg-1-without-north"
    command = ["cross", hospitals[0], str(pack), "--runs", str(run)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "but evaluation needs 224 × 224" in capsys.readouterr().err


def test_what_cannot_be_crossed_is_said_before_work_starts(
    hospitals, crossed, tmp_path, capsys
):
    out = tmp_path / "out"
    south = hospitals[1]
    for command, problem in (
        ([south, "--models", "sonoseg-1"], "at least two data sets"),
        ([south, south, "--models", "sonoseg-1"], "rename those of one name"),
        (hospitals, "no network"),
        ([*hospitals, "--models", "sonoseg-9"], "sonoseg-9"),
        ([*hospitals, "--runs", str(tmp_path)], "not the config"),
    ):
        assert main(["cross", *command, "--out", str(out)]) == 2
        assert problem in capsys.readouterr().err
    config = json.loads((crossed / "sonoseg-1-without-north/config.json").read_text())
    both = tmp_path / "both"
    both.mkdir()
    (both / "config.json").write_text(json.dumps(config | {"data": "South+NORTH"}))
    assert main(["cross", *hospitals, "--runs", str(both), "--out", str(out)]) == 2
    assert "was trained on all of north, south" in capsys.readouterr().err


def test_runs_of_one_name_are_refused(crossed, hospitals, tmp_path, capsys):
    name = "sonoseg-1-without-north"
    run = str(crossed / name)
    other = shutil.copytree(run, tmp_path / "other" / name)
    command = ["cross", *hospitals, "--out", str(tmp_path / "out"), "--runs", run]
    for again in (str(other), run):
        assert main([*command, again]) == 2
        problem = f"{again}: is named {name}, as {run} is; rename one of them"
        assert problem in capsys.readouterr().err
    assert main([*words(hospitals, tmp_path / "out"), "--runs", run]) == 2
    assert (
        f"is named {name}, as {tmp_path / 'out' / name} is" in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_the_table_against_plain_loops(tmp_path):
    random = np.random.default_rng(0)
    parts = random.integers(0, 60, (4, 40))
    parts[0, :10] = parts[2, :10] = 0  # normal images
    parts[0, 10:20] = 0  # missed lesions
    parts[3] += 500
    false = random.random(40) < 0.3
    counts = Counts(tp=parts[0], fp=parts[1], fn=parts[2], tn=parts[3])
    names = tuple(map(str, range(40)))
    reading = Reading(
        "run", ["a", "b"], "c", Evaluated("c", names, names, counts, false)
    )
    write_readings(tmp_path / "cross.csv", [reading])
    for row in rows(tmp_path):
        dice, wrong = [], []
        for n, (tp, fp, fn, tn) in enumerate(parts.T):
            share = (tp + fn) / (tp + fp + fn + tn)
            if share == 0 and row["to"] == "0":
                wrong.append(false[n])
            if float(row["from"]) < share <= float(row["to"]):
                dice.append(2 * tp / (2 * tp + fp + fn))
        if row["to"] == "0":
            assert float(row["false_lesion"]) == pytest.approx(np.mean(wrong), rel=1e-5)
            assert int(row["images"]) == len(wrong) > 0
            continue
        assert int(row["images"]) == len(dice)
        if dice:
            assert float(row["dice"]) == pytest.approx(np.mean(dice), rel=1e-5)
            missed = np.mean(np.array(dice) < 0.1)
            assert float(row["missed"]) == pytest.approx(missed, rel=1e-5)
    assert "a, b" in describe([reading])
