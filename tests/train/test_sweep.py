"""The grid search in one process; training is a stub. `tests/test_cluster.py` has workers and real trainings."""

import csv
import json
import re

import pytest
import tyro
from PIL import Image

from sonoseg import jobs
from sonoseg.cli import Command, Train, main
from sonoseg.errors import InputError, MachineError
from sonoseg.inputs import unguard_cell
from sonoseg.lock import held
from sonoseg.models.catalog import Recipe
from sonoseg.train import sweep, trial
from sonoseg.train.grid import PAPER, combinations, parse_grid
from sonoseg.train.processes import Processes

AXES = (
    "--grid",
    "learning_rate=1e-4,1e-3",
    "--grid",
    "batch=4,8",
    "--grid",
    "dropout=0.1",
)
SMALL = (
    "--split",
    "grouped",
    "--encoder-weights",
    "none",
    "--size",
    "32",
    "--epochs",
    "1",
)


def words(data, out, *more, axes=AXES):
    return [
        "sweep",
        "sonoseg-1",
        "--data",
        str(data),
        "--out",
        str(out),
        *axes,
        *SMALL,
        *more,
    ]


def rows(out):
    with (out / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def tried(monkeypatch, problem=lambda recipe: None):
    """Puts a stub in training's place; returns the (learning rate, batch) of every call."""
    calls = []

    def stub(config, training, validation, out, **_):
        recipe = config.recipe
        calls.append((recipe.learning_rate, recipe.batch))
        problem(recipe)
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.json").write_text(json.dumps(config.to_json()))
        (out / "best.safetensors").touch()
        dice = 0.4 + 100 * recipe.learning_rate + recipe.batch / 100
        worse = {
            "epoch": 1.0,
            "validation_loss": 0.3,
            "validation_dice": 0.05,
            "seconds": 3.0,
        }
        return [
            worse,
            worse | {"epoch": 2.0, "validation_loss": 0.5, "validation_dice": dice},
        ]

    monkeypatch.setattr(trial, "train", stub)
    monkeypatch.setattr(jobs, "PAUSE", 0.0)
    return calls


def test_the_best_epoch_table_picture_and_the_winners_command(
    phantoms, tmp_path, monkeypatch, capsys
):
    calls = tried(monkeypatch)
    assert main(words(phantoms, tmp_path)) == 0
    assert calls == [(1e-4, 4), (1e-4, 8), (1e-3, 4), (1e-3, 8)]
    best = [
        row["validation_dice"] for row in rows(tmp_path)
    ]  # by the recipe's monitor, not of the lowest loss
    assert best == ["0.45", "0.49", "0.54", "0.58"]
    assert {
        (row["epoch"], row["validation_loss"], row["seconds"]) for row in rows(tmp_path)
    } == {("2", "0.5", "6.0")}
    command = (tmp_path / "winner.txt").read_text().split()
    winner = tyro.cli(
        Command, args=command[1:], config=(tyro.conf.OmitSubcommandPrefixes,)
    )
    assert isinstance(winner, Train)
    assert (winner.learning_rate, winner.batch, winner.dropout, winner.split) == (
        1e-3,
        8,
        0.1,
        "grouped",
    )
    assert (winner.size, winner.epochs, winner.encoder_weights, winner.data) == (
        32,
        1,
        "none",
        phantoms,
    )
    printed = capsys.readouterr()
    assert (tmp_path / "winner.txt").read_text() in printed.out
    assert "0 of 4 done; now learning_rate=0.0001_batch=4" in printed.err
    left = r"3 of 4 done, about .* left; now learning_rate=0\.001_batch=8"
    assert re.search(left, printed.err)
    assert (tmp_path / "sweep.md").read_text().splitlines()[4].startswith("| 0.001 ")
    Image.open(tmp_path / "sweep.png").verify()


def test_when_all_fail_the_reason_is_the_error(phantoms, tmp_path, monkeypatch, capsys):
    def problem(recipe):
        raise MemoryError

    tried(monkeypatch, problem)
    assert main(words(phantoms, tmp_path, axes=("--grid", "batch=4"))) == 2
    assert (
        "every combination failed, the first with: not enough memory"
        in capsys.readouterr().err
    )
    assert (tmp_path / "sweep.png").exists() and not (tmp_path / "winner.txt").exists()


@pytest.mark.parametrize(
    ("axis", "problem"),
    [
        ("colour=red", "--grid colour: no such axis; choose from loss, learning_rate"),
        ("learning_rate=fast", "--grid learning_rate=fast: is not a number"),
        ("batch=8.5", "--grid batch=8.5: is not a whole number"),
        ("batch=0", "--batch 0: is out of range"),
        ("batch=", "--grid batch=: is not a whole number"),
        ("loss=bce,l1", "--grid loss=l1: no such value; choose from bce, dice"),
        ("batch=8,8", "has a value twice"),
    ],
)
def test_a_bad_axis_or_value_is_one_line_before_anything_is_written(
    phantoms, tmp_path, capsys, axis, problem
):
    out = tmp_path / "out"
    assert main(words(phantoms, out, axes=("--grid", axis))) == 2
    error = capsys.readouterr().err
    assert problem in error and len(error.strip().splitlines()) == 1
    assert not out.exists()


def test_processes_of_one_training_are_refused(phantoms, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "find_processes", lambda: Processes(0, 2))
    assert main(words(phantoms, tmp_path)) == 2
    assert "give --workers or --cluster" in capsys.readouterr().err


def test_without_axes_the_grid_is_the_papers():
    assert parse_grid((), Recipe()) is PAPER
    assert len(combinations(PAPER)) == 36
    grid = parse_grid(("learning-rate=1e-4, 1e-3", "augment=none,light"), Recipe())
    assert combinations(grid)[1] == {"learning_rate": 1e-4, "augment": "light"}


def test_what_is_trained_is_not_trained_again_and_new_values_are_added(
    phantoms, tmp_path, monkeypatch
):
    calls = tried(monkeypatch)
    for axis in ("batch=4", "batch=4,8", "batch=8,4"):
        assert main(words(phantoms, tmp_path, axes=("--grid", axis))) == 0
    assert [batch for _, batch in calls] == [4, 8]
    assert [row["batch"] for row in rows(tmp_path)] == ["8", "4"]


def test_a_result_without_its_log_or_its_weights_is_made_again(
    phantoms, tmp_path, monkeypatch
):
    """A real training returns its log from its checkpoint, or begins again without its weights."""
    calls = tried(monkeypatch)
    axes = ("--grid", "learning_rate=1e-4", "--grid", "batch=4,8")
    line = words(phantoms, tmp_path, axes=axes)
    assert main(line) == 0
    before = rows(tmp_path)
    assert [row["validation_dice"] for row in before] == ["0.45", "0.49"]
    run = tmp_path / "trials" / "learning_rate=0.0001_batch=4"
    for name, old, new in (
        ("trial.json", '"dice": 0.45', '"dice": 0.99'),
        ("trial.json", "{", "["),
        ("log.csv", "0.45", "0.99"),
        ("log.csv", "seconds", "minutes"),
    ):
        text = (run / name).read_text()
        assert old in text
        (run / name).write_text(text.replace(old, new))
        assert main(line) == 0
        assert (run / name).read_text() == text
        assert rows(tmp_path) == before
    for name in ("trial.json", "log.csv", "best.safetensors"):
        (run / name).unlink()
        assert main(line) == 0
        assert (run / name).exists()
        assert rows(tmp_path) == before
    assert [batch for _, batch in calls] == [4, 8, *[4] * 7]


@pytest.mark.parametrize(
    ("error", "reason", "attempts"),
    [
        (
            InputError("--batch 8", "is too large", "try 4"),
            "--batch 8: is too large; try 4",
            1,
        ),
        (
            MachineError("trials/x", "the disk is full", "free some space"),
            "trials/x: the disk is full; free some space",
            3,
        ),
        (RuntimeError("CUDA out of memory"), "not enough memory", 3),
        (ZeroDivisionError("a bug"), "ZeroDivisionError: a bug", 3),
    ],
)
def test_a_failed_trial_has_a_reason_and_the_next_call_tries_it_again(
    phantoms, tmp_path, monkeypatch, capsys, error, reason, attempts
):
    faults = [error] * attempts

    def problem(recipe):
        if recipe.batch == 4 and faults:
            raise faults.pop()

    calls = tried(monkeypatch, problem)
    line = words(phantoms, tmp_path, axes=("--grid", "batch=4,8"))
    assert main(line) == 1
    failed, complete = rows(tmp_path)
    assert unguard_cell(failed["reason"]) == reason
    assert [failed["state"], complete["state"]] == ["failed", "complete"]
    printed = capsys.readouterr()
    assert f"failed: {reason}" in printed.out and f"failed: {reason}" in printed.err
    assert f"failed: {reason}" in (tmp_path / "sweep.md").read_text()
    assert main(line) == 0
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "complete"]
    assert [batch for _, batch in calls] == [4] * attempts + [8, 4]


def test_a_loss_that_was_never_a_number_is_a_failure(phantoms, tmp_path, monkeypatch):
    tried(monkeypatch)
    stub = trial.train
    nan = {"validation_loss": float("nan")}
    monkeypatch.setattr(
        trial,
        "train",
        lambda *given, **more: [row | nan for row in stub(*given, **more)],
    )
    assert main(words(phantoms, tmp_path, axes=("--grid", "batch=4"))) == 2
    assert "the loss was never a finite number" in rows(tmp_path)[0]["reason"]


def test_stopped_by_hand_the_next_call_goes_on(phantoms, tmp_path, monkeypatch):
    faults = [None, KeyboardInterrupt()]

    def problem(recipe):
        if faults and (error := faults.pop(0)) is not None:
            raise error

    calls = tried(monkeypatch, problem)
    line = words(phantoms, tmp_path, axes=("--grid", "batch=4,8"))
    assert main(line) == 130
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "waiting"]
    assert main(line) == 0
    assert [batch for _, batch in calls] == [4, 8, 8]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            ["--seed", "3"],
            "holds a run with other settings: seed (0 there, 3 asked for)",
        ),
        (
            ["--patience", "3"],
            "holds a run with other settings: patience (0 there, 3 asked for)",
        ),
        (["--cluster", "nowhere"], "--cluster nowhere: is neither an address nor"),
        (["--cluster", "tcp://127.0.0.1:9"], "9: no scheduler answers"),
        (["--workers", "-1"], "--workers -1: is out of range"),
    ],
)
def test_other_settings_in_the_folder_or_no_workers_are_one_line(
    phantoms, tmp_path, monkeypatch, capsys, more, problem
):
    monkeypatch.setattr("sonoseg.cluster._CONNECT", 0.5)
    calls = tried(monkeypatch)
    assert main(words(phantoms, tmp_path, axes=("--grid", "batch=4"))) == 0
    capsys.readouterr()
    axes = ("--grid", "batch=4,8")
    assert main(words(phantoms, tmp_path, *more, axes=axes)) == 2
    error = capsys.readouterr().err
    assert problem in error and len(error.strip().splitlines()) == 1
    assert len(calls) == 1


def test_one_command_at_a_time_works_on_a_sweep(
    phantoms, tmp_path, monkeypatch, capsys
):
    calls = tried(monkeypatch)
    with held(tmp_path):
        assert main(words(phantoms, tmp_path)) == 2
    assert "another sonoseg command is writing" in capsys.readouterr().err
    assert not calls
