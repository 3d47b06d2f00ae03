"""The grid search: shared by processes, surviving the death of one; training itself is a stub but in one test."""

import csv
import multiprocessing
import time
from pathlib import Path

import pytest
import tyro
from PIL import Image
from sqlalchemy.exc import OperationalError
from tests import forked

from sonoseg.cli import Command, Train, main
from sonoseg.errors import InputError, MachineError
from sonoseg.inputs import unguard_cell
from sonoseg.models.catalog import Recipe
from sonoseg.train import search as search_module
from sonoseg.train import sweep
from sonoseg.train.grid import PAPER, combinations, folder_name, parse_grid
from sonoseg.train.processes import Processes
from sonoseg.train.search import Search
from sonoseg.train.sweep import progress

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

    monkeypatch.setattr(sweep, "train", stub)
    return calls


def test_two_processes_share_a_search_and_train_every_combination_once(
    phantoms, tmp_path, tmp_path_factory, capsys
):
    """Here the networks are trained; the other tests have a stub in training's place."""
    line = words(phantoms, tmp_path, axes=("--grid", "batch=4,8"))
    prints = tmp_path_factory.mktemp("prints")
    other = forked.start(line, prints)
    assert main(line) == 0
    beside = forked.end(other, prints)
    assert beside.returncode == 0
    done = rows(tmp_path)
    assert [(row["batch"], row["state"]) for row in done] == [
        ("4", "complete"),
        ("8", "complete"),
    ]
    assert all(
        0 <= float(row["validation_dice"]) <= 1
        and float(row["seconds"]) > 0
        and row["epoch"] == "1"
        for row in done
    )
    assert {path.name for path in (tmp_path / "trials").iterdir()} == {
        "batch=4",
        "batch=8",
    }
    printed = capsys.readouterr()
    assert (printed.err + beside.stderr).count("; now ") == 2
    for out in (printed.out, beside.stdout):
        assert out.count("sonoseg train sonoseg-1") == 1


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
    assert "0 of 4 combinations done; now learning_rate 0.0001" in printed.err
    assert "3 of 4 combinations done, about 0:00:06 left" in printed.err
    assert (tmp_path / "sweep.md").read_text().splitlines()[4].startswith("| 0.001 ")
    Image.open(tmp_path / "sweep.png").verify()


def stuck_in_the_third(config, training, validation, out, **_):
    """In place of training: the third one does not end."""
    out.mkdir(parents=True)
    (out / "begun").touch()
    if len(list(out.parent.iterdir())) == 3:
        time.sleep(600)
    losses = {"validation_loss": 0.5, "validation_dice": 0.5}
    return [{"epoch": 1.0, "seconds": 1.0, **losses}]


@pytest.mark.parametrize("storage", ["sqlite:///{}/shared.db", "journal:{}/shared.log"])
def test_a_killed_process_loses_one_trial_which_whoever_goes_on_does_again(
    phantoms, tmp_path, tmp_path_factory, monkeypatch, storage
):
    line = words(phantoms, tmp_path, "--storage", storage.format(tmp_path))
    process = forked.start(
        line,
        tmp_path_factory.mktemp("prints"),
        lambda: setattr(sweep, "train", stuck_in_the_third),
    )
    third = tmp_path / "trials" / "learning_rate=0.001_batch=4_dropout=0.1" / "begun"
    while not third.exists():
        assert process.is_alive()
        time.sleep(0.05)
    process.kill()
    process.join()
    assert [row["state"] for row in rows(tmp_path)] == [
        "complete",
        "complete",
        "waiting",
        "waiting",
    ]
    monkeypatch.setattr(search_module, "GRACE", 0.5)
    monkeypatch.setattr(sweep, "POLL", 0.1)
    calls = tried(monkeypatch)
    assert main(line) == 0
    assert calls == [
        (1e-3, 8),
        (1e-3, 4),
    ]  # the lost one last, when it is known to be lost
    assert {row["state"] for row in rows(tmp_path)} == {"complete"}
    assert main(line) == 0
    assert len(calls) == 2


def work(storage, name, number):
    search = Search(
        storage, "stress", {}, {"batch": tuple(range(12)), "loss": ("bce", "dice")}
    )
    with Path(name).open("a") as file:
        while (trial := search.claim()) is not None:
            file.write(folder_name(search.values(trial)) + "\n")
            search.complete(trial, 0.5, 0.5, 1, float(number))


@pytest.mark.parametrize("storage", ["sqlite:///{}/shared.db", "journal:{}/shared.log"])
def test_processes_in_a_hurry_never_do_one_combination_twice(tmp_path, storage):
    fork = multiprocessing.get_context("fork")
    names = [str(tmp_path / f"{number}.txt") for number in range(3)]
    workers = [
        fork.Process(target=work, args=(storage.format(tmp_path), *pair[::-1]))
        for pair in enumerate(names)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    done = [line for name in names for line in Path(name).read_text().splitlines()]
    assert len(done) == len(set(done)) == 24


def test_a_living_process_keeps_its_trial_and_a_silent_one_loses_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(search_module, "BEAT", 0.05)
    monkeypatch.setattr(search_module, "GRACE", 0.6)
    first, second = (
        Search(f"sqlite:///{tmp_path}/db", "one", {}, {"batch": (4,)}) for _ in range(2)
    )
    trial = first.claim()
    with first.alive(trial):
        for _ in range(8):
            assert second.claim() is None
            time.sleep(0.15)
    assert second.claim() is None
    time.sleep(0.7)
    taken = second.claim()
    assert taken not in (None, trial)
    first.complete(trial, 0.1, 1.0, 1, 1.0)  # wakes up too late
    second.complete(taken, 0.2, 1.0, 1, 1.0)
    assert [result.dice for result in first.results()] == [0.2]


def test_a_failed_trial_is_told_with_its_reason_and_the_search_goes_on(
    phantoms, tmp_path, monkeypatch, capsys
):
    def problem(recipe):
        if recipe.batch == 8:
            raise InputError("--batch 8", "not enough memory", "try --batch 4")

    calls = tried(monkeypatch, problem)
    assert main(words(phantoms, tmp_path)) == 1
    assert len(calls) == 4
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "failed"] * 2
    reason = "--batch 8: not enough memory; try --batch 4"
    assert unguard_cell(rows(tmp_path)[1]["reason"]) == reason
    printed = capsys.readouterr()
    assert (
        f"failed: {reason}" in printed.out
        and f"failed: {reason}" in (tmp_path / "sweep.md").read_text()
    )
    assert main(words(phantoms, tmp_path)) == 1
    assert len(calls) == 4


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
    ("problem", "reason"),
    [
        (
            MachineError("trials/x", "the disk is full", "free some space"),
            "trials/x: the disk is full; free some space",
        ),
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory"), "not enough memory"),
    ],
)
def test_what_the_machine_failed_at_is_tried_again_by_the_next_call(
    phantoms, tmp_path, monkeypatch, capsys, problem, reason
):
    problems = [problem, problem, None]  # of batch 4, of batch 4 again, of none

    def problem(recipe):
        if recipe.batch == 4 and (error := problems.pop(0)) is not None:
            raise error

    calls = tried(monkeypatch, problem)
    line = words(phantoms, tmp_path, axes=("--grid", "batch=4,8"))
    for _ in range(2):
        assert main(line) == 1
        assert [(row["state"], row["reason"]) for row in rows(tmp_path)] == [
            ("failed", reason),
            ("complete", ""),
        ]
    assert main(line) == main(line) == 0
    assert [row["state"] for row in rows(tmp_path)] == ["complete", "complete"]
    assert [batch for _, batch in calls] == [4, 8, 4, 4]
    assert f"failed: {reason}" in capsys.readouterr().err


def test_two_processes_do_not_both_do_again_what_the_machine_failed_at(tmp_path):
    storage, grid = f"sqlite:///{tmp_path}/db", {"batch": (4,)}
    first = Search(storage, "one", {}, grid)
    first.fail(first.claim(), "the disk is full", again=True)
    assert first.claim() is None  # not in the same call
    second, third = (Search(storage, "one", {}, grid) for _ in range(2))
    again = second.claim()
    assert again is not None and third.claim() is None
    second.complete(again, 0.5, 1.0, 1, 1.0)
    assert [
        result.dice for search in (first, second, third) for result in search.results()
    ] == [0.5] * 3


def test_a_storage_that_fails_on_the_way_is_one_line(
    phantoms, tmp_path, monkeypatch, capsys
):
    tried(monkeypatch)

    def full(*_, **__):
        raise OperationalError("INSERT", {}, Exception("database or disk is full"))

    monkeypatch.setattr(Search, "complete", full)
    assert main(words(phantoms, tmp_path)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert (
        error.startswith("sonoseg: sqlite:///")
        and "cannot be used (database or disk is full); free" in error
    )


def test_stopped_by_hand_a_trial_is_free_at_once_and_a_bug_is_not_hidden(
    phantoms, tmp_path, monkeypatch
):
    faults = [KeyboardInterrupt(), ZeroDivisionError("a bug"), None]

    def problem(recipe):
        if (error := faults.pop(0)) is not None:
            raise error

    calls = tried(monkeypatch, problem)
    line = words(phantoms, tmp_path, axes=("--grid", "batch=4,8"))
    assert main(line) == 130
    with pytest.raises(ZeroDivisionError):
        main(line)
    assert main(line) == 1
    assert [batch for _, batch in calls] == [4, 4, 8]
    assert [row["reason"] for row in rows(tmp_path)] == ["ZeroDivisionError: a bug", ""]


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


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            ["--grid", "ema=0.9"],
            "another grid (batch=4 there, batch=4, ema=0.9 asked for)",
        ),
        (["--seed", "3"], "holds a search with another seed (0 there, 3 asked for)"),
        (
            ["--patience", "3"],
            "holds a search with another patience (0 there, 3 asked for)",
        ),
        (["--storage", "nonsense"], "nonsense: cannot be opened"),
        (
            ["--storage", "sqlite:////nowhere/at/all.db"],
            "cannot be opened (unable to open database file)",
        ),
        (["--storage", "journal:/nowhere/at/all.log"], "cannot be opened"),
        (
            ["--storage", "journal:/dev/null"],
            "journal:/dev/null: is not a regular file; give --storage sqlite",
        ),
        (
            ["--storage", "postgresql://me:secret@localhost/none"],
            "postgresql://me:***@localhost/none: cannot be opened",
        ),
    ],
)
def test_another_search_in_the_storage_or_none_that_opens_is_one_line(
    phantoms, tmp_path, monkeypatch, capsys, more, problem
):
    calls = tried(monkeypatch)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    assert main(words(phantoms, tmp_path, axes=("--grid", "batch=4"))) == 0
    capsys.readouterr()
    assert main(words(phantoms, tmp_path, *more, axes=("--grid", "batch=4"))) == 2
    error = capsys.readouterr().err
    assert problem in error and len(error.strip().splitlines()) == 1
    assert len(calls) == 1


def test_processes_of_one_training_are_refused(phantoms, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "find_processes", lambda: Processes(0, 2))
    assert main(words(phantoms, tmp_path)) == 2
    assert "start sonoseg sweep several times" in capsys.readouterr().err


def test_without_axes_the_grid_is_the_papers():
    assert parse_grid((), Recipe()) is PAPER
    assert len(combinations(PAPER)) == 36
    grid = parse_grid(("learning-rate=1e-4, 1e-3", "augment=none,light"), Recipe())
    assert combinations(grid)[1] == {"learning_rate": 1e-4, "augment": "light"}


def test_the_time_left_is_shared_by_those_who_work():
    result = search_module.Result
    done = [result({}, "complete", 0.5, 0.5, 1, 100.0), result({}, "failed")]
    assert progress([*done, *[result({}, "running")] * 2, result({})]) == (
        "2 of 5 combinations done, about 0:02:30 left"
    )
