"""Training for real, small: a light network at 32 pixels on phantoms, and four real images learned by heart."""

import csv
import json
import os
import re
import shutil
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests import forked

from sonoseg.cli import main
from sonoseg.data import SPLITS, load_cases, split_cases
from sonoseg.errors import InputError
from sonoseg.models.catalog import find_experiment
from sonoseg.models.network import Output, SegmentationNetwork
from sonoseg.train import loop
from sonoseg.train.configure import check_recipe, configure
from sonoseg.train.dataset import BatchOrder, Pairs
from sonoseg.train.device import make_fabric
from sonoseg.train.gather import gather
from sonoseg.train.log import read_log
from sonoseg.train.losses import LOSSES
from sonoseg.train.processes import Processes
from sonoseg.train.run_folder import RunConfig, best_epoch, load_run
from sonoseg.train.settings import NetworkChanges, TrainSettings
from sonoseg.train.start import first_weights
from sonoseg.train.step import Learner
from sonoseg.train.stopping import is_over
from sonoseg.train.teachers import Teachers

OPTIONS = [
    "--split",
    "grouped",
    "--encoder-weights",
    "none",
    "--size",
    "32",
    "--batch",
    "4",
    "--epochs",
    "3",
]
SMALL = ["--encoders", "tf_efficientnet_lite0", "--widths", "16", "16", "8", "8"]
"""A network that is quick to train and to save."""


def words(phantoms, out, *more, network=SMALL):
    command = ["train", "sonoseg-1", "--data", str(phantoms), "--out", str(out)]
    return [*command, *OPTIONS, *network, *more]


@pytest.fixture(scope="module")
def run(phantoms, tmp_path_factory):
    """A finished run, undisturbed."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    assert main(words(phantoms, out)) == 0
    return out


def test_a_run_folder_holds_config_log_curves_weights_and_checkpoint(run):
    assert {path.name for path in run.iterdir()} == {
        ".lock",
        "config.json",
        "images.csv",
        "log.csv",
        "curves.png",
        "best.safetensors",
        "last.ckpt",
    }
    with (run / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert all(0 < float(row["validation_loss"]) < 10 for row in rows)


@pytest.mark.parametrize(("monitor", "best"), [("loss", 3), ("dice", 4)])
def test_the_epoch_that_is_kept_is_the_best_by_what_is_asked_for(monitor, best):
    nan = float("nan")
    values = [(nan, 0.1), (0.9, 0.2), (0.3, 0.5), (0.4, 0.7), (0.5, nan)]
    history = [
        {"epoch": number, "validation_loss": loss, "validation_dice": dice}
        for number, (loss, dice) in enumerate(values, 1)
    ]
    assert best_epoch(history, monitor)["epoch"] == best
    assert best_epoch(history[:1], "loss")["epoch"] == 1
    assert best_epoch(history, "last")["epoch"] == 5


class MadeUpScores:
    """A validation whose Dice is known, and whose loss falls."""

    def __init__(self, dice):
        self.dice, self.epoch = dice, 0

    def __call__(self, *_):
        self.epoch += 1
        return self

    def mean(self, subset):
        return {
            f"{subset}_dice": self.dice[self.epoch - 1],
            f"{subset}_loss": 1 - self.epoch / 8,
        }


class KnownAnswers(SegmentationNetwork):
    """Answers what the images say: presence for the image, lesion where it is bright."""

    def __init__(self, parts):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(6.0))
        self.parts = parts

    def outputs(self, image):
        logits = self.scale * (image - 0.5)
        parts = torch.nn.functional.avg_pool2d(logits, 8)
        return Output(logits, parts if self.parts else parts.mean((1, 2, 3))[:, None])


@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize("loss", ["bce", "bce+image-dice"])
def test_the_validation_loss_does_not_depend_on_the_batch(parts, loss):
    """The pixels of images without a lesion do not count, and lesions are not spread evenly over the batches."""
    masks = torch.zeros(32, 1, 32, 32, dtype=torch.uint8)
    masks[0, :, 4:12, 4:12] = 1
    masks[16:, :, 8:24, 4:20] = 1
    noise = torch.rand(masks.shape, generator=torch.Generator().manual_seed(0))
    images = (130 * masks + 120 * noise).to(torch.uint8)
    images[0] = 20  # the first lesion is missed
    images[5, :, 16:32, 16:32] = 250  # a false part
    losses = []
    for batch in (1, 4, 32):
        recipe = replace(find_experiment("sonoseg-1").recipe, batch=batch, loss=loss)
        fabric = make_fabric(Processes())
        learner = Learner(
            fabric, KnownAnswers(parts), recipe, 0, 1, Teachers([]), bfloat16=False
        )
        scores = loop.validate(learner, Pairs(images, masks))
        losses.append(scores.mean("validation")["validation_loss"])
    assert losses == pytest.approx([losses[-1]] * 3, rel=1e-5)


def test_a_run_keeps_the_weights_of_the_best_dice_and_stops_when_it_stays_away(
    phantoms, tmp_path, monkeypatch, capsys
):
    """The second epoch has the best Dice, while the loss goes on falling."""
    saved = []
    monkeypatch.setattr(loop, "validate", MadeUpScores([0.25, 0.75, 0.5, 0.5, 0.5]))
    monkeypatch.setattr(loop, "save_weights", lambda *_: saved.append(True))
    more = ("--monitor", "dice", "--patience", "2", "--epochs", "9")
    assert main(words(phantoms, tmp_path, *more)) == 0
    with (tmp_path / "log.csv").open() as file:
        found = [row["validation_dice"] for row in csv.DictReader(file)]
    assert found == ["0.25", "0.75", "0.5", "0.5"]
    assert len(saved) == 2
    assert "4 epochs; best is epoch 2" in capsys.readouterr().out


def test_the_epoch_that_is_kept_is_the_best_of_the_log(phantoms, tmp_path, monkeypatch):
    """A sweep takes it from log.csv, where numbers have six digits; of equals the later one is kept."""
    saved = []
    monkeypatch.setattr(loop, "validate", MadeUpScores([0.71234561, 0.71234559]))
    monkeypatch.setattr(loop, "save_weights", lambda *_: saved.append(True))
    more = ("--monitor", "dice", "--epochs", "2")
    assert main(words(phantoms, tmp_path, *more)) == 0
    assert best_epoch(read_log(tmp_path), "dice")["epoch"] == len(saved) == 2


@pytest.mark.parametrize(
    ("monitor", "values", "over"),
    [
        ("loss", [3.0, 2.0, 1.0], False),
        ("loss", [1.0, 1.0, 2.0], True),
        ("loss", [1.0, 2.0, 0.5, 0.6], False),
        ("dice", [0.1, 0.1, 0.1], True),
        ("dice", [0.1, 0.0, 0.2], False),
        ("loss", [float("nan")], True),
        ("loss", [], False),
    ],
)
def test_a_training_stops_after_two_epochs_without_a_better_one(monitor, values, over):
    history = [{f"validation_{monitor}": value} for value in values]
    recipe = replace(find_experiment("model-1").recipe, monitor=monitor, patience=2)
    assert is_over(history, recipe) is over
    assert not is_over(history, replace(recipe, patience=0))


def test_the_best_network_is_the_running_average_ready_to_predict(run):
    model, config = load_run(run)
    assert not model.training
    assert (config.model, config.size, config.recipe.batch, config.recipe.epochs) == (
        "sonoseg-1",
        32,
        4,
        3,
    )
    with torch.no_grad():
        assert model(torch.rand(1, 1, 32, 32)).isfinite().all()


def stopped_at(at, by, phantoms, out):
    """A training in a process of its own that gets the signal `by` in that step."""
    step = Learner.step

    def stopped(learner, inputs, masks, number):
        if number == at:
            os.kill(os.getpid(), by)
            time.sleep(60)
        return step(learner, inputs, masks, number)

    return forked.run(
        words(phantoms, out), out.parent, lambda: setattr(Learner, "step", stopped)
    )


def steps_of(run):
    return torch.load(run / "last.ckpt", weights_only=True)["schedule"]["total_steps"]


def test_killed_at_any_moment_the_same_command_ends_with_the_same_weights(
    phantoms, run, tmp_path
):
    out = tmp_path / "killed"
    second_epoch = steps_of(run) // 3 + 1
    killed = stopped_at(second_epoch, signal.SIGKILL, phantoms, out)
    assert killed.returncode == -signal.SIGKILL
    assert len((out / "log.csv").read_text().splitlines()) == 2
    assert main(words(phantoms, out)) == 0
    ended, undisturbed = (
        load_file(folder / "best.safetensors") for folder in (out, run)
    )
    assert ended.keys() == undisturbed.keys()
    assert all(torch.equal(ended[name], undisturbed[name]) for name in ended)

    def without_seconds(folder):
        return [
            row.rpartition(",")[0]
            for row in (folder / "log.csv").read_text().splitlines()
        ]

    assert without_seconds(out) == without_seconds(run)


def test_ctrl_c_in_the_first_epoch_leaves_a_usable_run(phantoms, tmp_path):
    out = tmp_path / "stopped"
    done = stopped_at(1, signal.SIGINT, phantoms, out)
    assert done.returncode == 130
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (out / "last.ckpt").exists()
    load_run(out)


def test_a_finished_run_is_left_as_it_is(phantoms, run):
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    assert main(words(phantoms, run)) == 0
    after = {path.name: path.read_bytes() for path in run.iterdir()}
    assert before == after


def test_another_run_does_not_overwrite_this_one(phantoms, run, capsys):
    assert main(words(phantoms, run, "--seed", "5")) == 2
    assert (
        "holds a run with other settings: seed (0 there, 5 asked for)"
        in capsys.readouterr().err
    )


def test_a_run_can_start_from_another_and_says_so(phantoms, run, tmp_path):
    out = tmp_path / "next"
    assert main([*words(phantoms, out), "--start-from", str(run)]) == 0
    config = RunConfig.read(out)
    assert config.start_from.startswith("undisturbed sha256:")
    assert [stage["recipe"]["epochs"] for stage in config.lineage] == [3]


def test_a_run_can_start_from_the_network_inside(phantoms, tmp_path):
    assert (
        main(
            [
                *words(phantoms, tmp_path, network=()),
                "--start-from",
                "default",
                "--epochs",
                "1",
            ]
        )
        == 0
    )
    config = RunConfig.read(tmp_path)
    assert config.start_from.startswith("default sha256:")
    assert [(stage["data"], stage["size"]) for stage in config.lineage][-1] == (
        "busi+busi+busbra",
        192,
    )
    assert "validation_dice" in (tmp_path / "log.csv").read_text()


def test_a_run_can_learn_from_teachers_and_says_so(phantoms, run, tmp_path):
    taught = words(
        phantoms,
        tmp_path,
        "--teachers",
        str(run),
        "default",
        "--size",
        "64",
        "--epochs",
        "1",
    )
    assert main(taught) == 0
    config = RunConfig.read(tmp_path)
    assert [teacher.partition(" ")[0] for teacher in config.teachers] == [
        "undisturbed",
        "default",
    ]
    assert (config.lineage[0]["size"], config.lineage[-1]["data"]) == (
        32,
        "busi+busi+busbra",
    )
    assert not any(
        name.startswith("teacher") for name in load_file(tmp_path / "best.safetensors")
    )


def test_encoders_can_start_from_those_inside(phantoms, tmp_path):
    settings = TrainSettings(
        "sonoseg-1",
        phantoms,
        "grouped",
        encoder_weights="default",
        network=NetworkChanges(convolution="double"),
    )
    config, _, _ = configure(settings)
    assert config.encoder_weights.startswith("default sha256:")
    assert [(stage["data"], stage["size"]) for stage in config.lineage][-1] == (
        "busi+busi+busbra",
        192,
    )
    own = first_weights(config, "default", None).encoders.state_dict()
    inside = load_run("default")[0].encoders.state_dict()
    assert all(torch.equal(tensor, inside[name]) for name, tensor in own.items())


def test_a_part_can_learn_while_the_rest_stays_as_it_starts(phantoms, run, tmp_path):
    assert (
        main(
            [
                *words(phantoms, tmp_path),
                "--start-from",
                str(run),
                "--learn",
                "presence",
            ]
        )
        == 0
    )
    before, after = (
        load_file(folder / "best.safetensors") for folder in (run, tmp_path)
    )
    changed = {
        name for name, tensor in after.items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"presence.1.weight", "presence.1.bias"}


def test_four_real_images_are_learned_by_heart(real_data, tmp_path):
    cases = [case for case in load_cases(real_data / "busi") if case.label != "normal"][
        :4
    ]
    experiment = find_experiment("sonoseg-1")
    recipe = replace(
        experiment.recipe, augment="none", batch=4, epochs=4, ema=0.5, dropout=0.0
    )
    network = load_run("default")[1].network
    config = RunConfig(
        "sonoseg-1", network, recipe, "busi", "-", "-", 96, 0, "default", ""
    )
    history = loop.train(config, 12 * cases, cases, tmp_path, "default")
    assert history[-1]["train_loss"] < 0.85 * history[0]["train_loss"]
    assert max(row["validation_dice"] for row in history) > 0.8


@pytest.mark.parametrize(
    ("option", "value", "problem"),
    [
        ("--size", "100", "is not a multiple of 32"),
        ("--batch", "0", "--batch 0: is out of range"),
        ("--learning-rate", "nan", "is out of range"),
        ("--split", "nonsense", "there is no such split"),
        ("--split", "paper", "this split is only for BUSI"),
        ("--encoder-weights", "nowhere", "there are no weights"),
        ("--also", "nowhere", "there is no such folder"),
        (
            "--learn",
            "nose",
            "this network has no such part, or the part is frozen; try encoders, stages, head, presence",
        ),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(
    phantoms, tmp_path, capsys, option, value, problem
):
    assert main(words(phantoms, tmp_path / "out", option, value)) == 2
    error = capsys.readouterr().err
    assert problem in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "wrong", [{"optimizer": "lion"}, {"schedule": "cosine"}, {"loss": "hinge"}]
)
def test_a_recipe_of_unknown_parts_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(InputError, match=f"--{name} {wrong[name]}: is out of range"):
        check_recipe(replace(find_experiment("model-1").recipe, **wrong))


def test_sgd_with_the_poly_schedule_falls_to_0(phantoms, tmp_path):
    more = (
        "--optimizer",
        "sgd",
        "--learning-rate",
        "0.01",
        "--schedule",
        "poly",
        "--loss",
        "0.4bce+0.6dice",
    )
    assert main(words(phantoms, tmp_path / "run", *more)) == 0
    with (tmp_path / "run" / "log.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx(
        [0.01 * (1 - part / 3) ** 0.9 for part in (1, 2, 3)], rel=1e-4
    )
    optimizer = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)[
        "optimizer"
    ]
    assert optimizer["param_groups"][0]["momentum"] == 0.9


@pytest.mark.parametrize(
    ("model", "widths", "problem"),
    [
        ("sonoseg-1", (64, 0, 8, 8), "--widths 64 0 8 8: is out of range"),
        ("dpnet", (64, 8, 8, 8), "--widths: dpnet has no such option"),
    ],
)
def test_widths_that_no_network_can_have_are_refused(phantoms, model, widths, problem):
    with pytest.raises(InputError, match=problem):
        changes = NetworkChanges(widths=widths)
        configure(TrainSettings(model, phantoms, "grouped", network=changes))


def test_the_last_epoch_is_kept_only_of_a_training_that_ends_there(
    phantoms, tmp_path, capsys
):
    assert (
        main(words(phantoms, tmp_path / "out", "--monitor", "last", "--patience", "3"))
        == 2
    )
    assert "--patience 3: is out of range" in capsys.readouterr().err


def test_too_little_memory_names_the_batch_to_try(
    phantoms, tmp_path, capsys, monkeypatch
):
    def exhausted(*_, **__):
        raise torch.OutOfMemoryError("no more")

    monkeypatch.setattr(loop, "run_epochs", exhausted)
    assert main(words(phantoms, tmp_path / "out")) == 2
    assert "--batch 4: not enough memory; try --batch 2" in capsys.readouterr().err


def test_a_split_without_training_images_is_refused(phantoms, tmp_path, capsys):
    assert main(words(phantoms, tmp_path / "out", "--split", "all")) == 2
    assert "leaves no training images" in capsys.readouterr().err


def test_with_four_images_every_hint_names_the_split_that_works(
    phantoms, tmp_path, capsys
):
    data = tmp_path / "four"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
        for path in sorted((phantoms / folder).iterdir())[:4]:
            shutil.copy(path, data / folder)
    for split in SPLITS:
        assert main(words(data, tmp_path / "out", "--split", split)) == 2
        _, _, hint = capsys.readouterr().err.partition("; ")
        always = re.sub(r"\(.*\)", "", hint)  # in brackets: what is right at times
        assert always.strip() == "use a CSV file: file,subset"
    names = sorted(path.name for path in (data / "images").iterdir())
    subsets = ("train", "train", "validation", "test")
    rows = [f"{name},{subset}" for name, subset in zip(names, subsets, strict=True)]
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(["file,subset", *rows]))
    assert main(words(data, tmp_path / "out", "--split", str(table))) == 0


def test_images_that_are_kept_back_are_not_trained_on_as_another_data_set(
    phantoms, tmp_path, capsys
):
    subsets = split_cases(load_cases(phantoms), "grouped")
    kept = len(subsets["validation"]) + len(subsets["test"])
    (tmp_path / "linked").symlink_to(phantoms)
    for also in (phantoms, tmp_path / "linked"):
        assert main(words(phantoms, tmp_path / "out", "--also", str(also))) == 2
        assert (
            f"--also {also}: contains {kept} images of the validation or test subset, first"
            in capsys.readouterr().err
        )
    copies = shutil.copytree(phantoms, tmp_path / "copies")
    (copies / "labels.csv").unlink()
    for file in [*copies.glob("images/*"), *copies.glob("masks/*")]:
        file.rename(file.with_name(f"other_{file.name}"))
    assert main(words(phantoms, tmp_path / "out", "--also", str(copies))) == 2
    problem = (
        f"--also: holds {kept} validation or test images of {phantoms}, first {copies}"
    )
    assert problem in capsys.readouterr().err
    for case in subsets["validation"]:  # test images alone are refused, too
        (copies / "images" / f"other_{case.name}").unlink()
        (copies / "masks" / f"other_{case.name}").unlink()
    assert main(words(phantoms, tmp_path / "out", "--also", str(copies))) == 2
    problem = f"holds {len(subsets['test'])} validation or test images"
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    training, validation = gather(
        phantoms, "grouped", [f"{phantoms}@grouped"]
    )  # counts them twice, as is asked for
    assert (training, validation) == (2 * subsets["train"], subsets["validation"])


def test_further_images_inside_the_data_set_are_compared_too(
    phantoms, tmp_path, capsys
):
    data = shutil.copytree(phantoms, tmp_path / "data")
    copies = shutil.copytree(phantoms, data / "extra" / "copies")
    assert main(words(data, tmp_path / "out", "--also", str(copies))) == 2
    assert "that grouped keeps apart" in capsys.readouterr().err
    # Under other names they are known by their pixels alone.
    (copies / "labels.csv").unlink()
    for path in [*(copies / "images").iterdir(), *(copies / "masks").iterdir()]:
        path.rename(path.with_name(f"other_{path.name}"))
    assert main(words(data, tmp_path / "out", "--also", str(copies))) == 2
    assert "validation or test images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("subset", "problem"),
    [
        ("train", "no training image has a lesion; check the masks"),
        (
            "validation",
            "no validation image has a lesion, so Dice cannot choose the epoch; choose another --split",
        ),
    ],
)
def test_masks_without_lesions_are_refused(phantoms, tmp_path, capsys, subset, problem):
    blank = shutil.copytree(phantoms, tmp_path / "blank")
    for case in split_cases(load_cases(blank), "grouped")[subset]:
        for mask in case.masks:
            with Image.open(mask) as picture:
                size = picture.size
            Image.new("L", size).save(mask)
    assert main(words(blank, tmp_path / "out")) == 2
    assert problem in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "earlier", [{}, {"data": [1], "split": {}, "size": "x"}, {"model": "model-1"}]
)
def test_the_configs_of_earlier_runs_are_checked_as_well(run, tmp_path, earlier):
    config = json.loads((run / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"lineage": [config]}))
    assert RunConfig.read(tmp_path).lineage == (config,)
    (tmp_path / "config.json").write_text(
        json.dumps(config | {"lineage": [config, earlier]})
    )
    with pytest.raises(InputError, match="not the config of a sonoseg run"):
        RunConfig.read(tmp_path)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"model": 1}', "\x00"])
def test_a_broken_config_is_an_input_error(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="not the config of a sonoseg run"):
        load_run(tmp_path)


def test_weights_of_another_network_do_not_fit(run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    config["network"]["widths"] = [24, 16, 8, 8]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "best.safetensors").write_bytes((run / "best.safetensors").read_bytes())
    with pytest.raises(InputError, match="its weights do not fit its config"):
        load_run(tmp_path)


def test_order_of_training_images_changes_with_the_epoch_and_not_with_the_process():
    def rows(epoch, count=1):
        found = []
        for rank in range(count):
            order = BatchOrder(24, 4, 7, Processes(rank, count))
            for batch in order.of_epoch(epoch):
                found += batch
        return found

    assert rows(3) == rows(3) != rows(4)
    assert np.array_equal(np.sort(rows(3)), np.arange(24))
    assert sorted(rows(3, count=2)) == sorted(rows(3))


def test_frozen_encoders_are_run_once_and_nothing_is_learned_otherwise(
    phantoms, tmp_path, monkeypatch
):
    """The same log with and without; in float32, for autocast rounds the features at another place."""
    monkeypatch.setattr(loop, "has_bfloat16", lambda: False)
    frozen = ("train", "model-15", "--data", str(phantoms), *OPTIONS)
    assert main([*frozen, "--out", str(tmp_path / "once")]) == 0
    monkeypatch.setattr(loop, "encodes_once", lambda config: False)
    assert main([*frozen, "--out", str(tmp_path / "always")]) == 0
    logs = []
    for name in ("once", "always"):
        with (tmp_path / name / "log.csv").open() as file:
            logs.append(
                [
                    [float(row[key]) for key in ("train_loss", "validation_loss")]
                    for row in csv.DictReader(file)
                ]
            )
    assert np.array(logs[0]) == pytest.approx(np.array(logs[1]), rel=1e-4)


def test_frozen_encoders_with_given_weights_go_on_with_them(
    phantoms, tmp_path, monkeypatch
):
    """An interrupted run takes its encoders from its checkpoint, before it encodes the images once."""
    small = ("--epochs", "1")
    first = ("train", "model-15", "--data", str(phantoms), *OPTIONS, *small)
    assert main([*first, "--seed", "9", "--out", str(tmp_path / "given")]) == 0
    frozen = [*first, "--encoder-weights", str(tmp_path / "given"), "--epochs", "2"]
    assert main([*frozen, "--out", str(tmp_path / "whole")]) == 0

    def killed(*arguments):
        save(*arguments)
        raise SystemError("killed")

    save = loop.save_checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(loop, "save_checkpoint", killed)
        with pytest.raises(SystemError):
            main([*frozen, "--out", str(tmp_path / "killed")])
    assert main([*frozen, "--out", str(tmp_path / "killed")]) == 0
    whole, killed_run = (
        load_file(tmp_path / name / "best.safetensors") for name in ("whole", "killed")
    )
    assert all(torch.equal(killed_run[name], tensor) for name, tensor in whole.items())


def test_a_loss_that_is_no_longer_finite_ends_the_training(
    phantoms, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(LOSSES, "bce", lambda logits, *_: logits.sum() * float("nan"))
    assert main(words(phantoms, tmp_path / "out", "--loss", "bce")) == 2
    problem = "--learning-rate 0.001: the loss is no longer finite (epoch 1, step 1); try a smaller one"
    assert problem in capsys.readouterr().err
