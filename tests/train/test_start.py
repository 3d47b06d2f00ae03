"""No finished run is lost, and none that has changed passes as finished."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests import forked

from sonoseg.cli import main
from sonoseg.lock import held
from sonoseg.models.network import SegmentationNetwork
from sonoseg.train import loop
from sonoseg.train.run_folder import BEST, CONFIG, LAST, LOG, SHIPPED, RunConfig

TINY = (
    "--size",
    "32",
    "--batch",
    "4",
    "--encoder-weights",
    "none",
    "--encoders",
    "tf_efficientnet_lite0",
)
TINY += ("--widths", "16", "16", "8", "8", "--split", "grouped", "--epochs", "2")


def words(data: Path, out: Path, *more: str) -> list[str]:
    return ["train", "sonoseg-1", "--data", str(data), "--out", str(out), *TINY, *more]


@pytest.fixture(scope="module")
def finished(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "finished"
    assert main(words(phantoms, out)) == 0
    return out


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished run."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def weights(folder: Path) -> bytes:
    return (folder / BEST).read_bytes()


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert (
        error.startswith("sonoseg: ") and "; " in error and len(error.splitlines()) == 1
    ), error
    return error


@pytest.mark.parametrize("place", ["torch.load", "sonoseg.train.loop.run_epochs"])
def test_ctrl_c_while_a_finished_run_is_opened_leaves_it_as_it_is(
    phantoms: Path,
    finished: Path,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    with monkeypatch.context() as patch:
        patch.setattr(place, stopped)
        assert main(words(phantoms, run)) == 130
    assert weights(run) == weights(finished)
    assert main(words(phantoms, run)) == 0
    assert weights(run) == weights(finished)


@pytest.mark.parametrize("damage", ["gone", "cut short"])
def test_a_run_without_its_weights_is_not_done(
    phantoms: Path,
    finished: Path,
    run: Path,
    capsys: pytest.CaptureFixture[str],
    damage: str,
) -> None:
    if damage == "gone":
        (run / BEST).unlink()
    else:
        (run / BEST).write_bytes(weights(run)[:1000])
    assert main(words(phantoms, run)) == 0
    assert (
        f"note: {run / BEST} is missing or damaged; the training begins again"
        in capsys.readouterr().err
    )
    assert weights(run) == weights(finished)


def test_weights_lost_and_stopped_again_in_the_first_epoch_are_not_taken_for_finished(
    phantoms: Path, finished: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run / BEST).unlink()

    def killed(*_: object) -> None:
        raise SystemError("killed after best.safetensors, before last.ckpt")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "write_log", killed)
        with pytest.raises(SystemError):
            main(words(phantoms, run))
    assert (run / BEST).exists() and not (run / LAST).exists()
    assert main(words(phantoms, run)) == 0
    assert weights(run) == weights(finished)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_one_line_and_the_weights_stay(
    phantoms: Path,
    finished: Path,
    run: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    (run / LAST).write_bytes(
        (run / LAST).read_bytes()[:5000] if content is None else content
    )
    assert main(words(phantoms, run)) == 2
    error = one_line(capsys)
    assert (
        str(run / LAST) in error and "delete it, and the training starts again" in error
    ) or "empty" in error
    assert weights(run) == weights(finished)
    (run / LAST).unlink()
    assert main(words(phantoms, run)) == 0
    assert weights(run) == weights(finished)


@pytest.mark.parametrize("name", [LAST, "images.csv", ".lock", CONFIG])
def test_a_folder_in_the_place_of_a_file_is_one_line(
    phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    (tmp_path / "out" / name).mkdir(parents=True)
    assert main(words(phantoms, tmp_path / "out")) == 2
    (line,) = [
        line
        for line in capsys.readouterr().err.splitlines()
        if not line.startswith("note: ")
    ]
    assert line.startswith(f"sonoseg: {tmp_path / 'out' / name}: ") and "; " in line


def test_a_checkpoint_of_another_network_is_one_line(
    phantoms: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = torch.load(run / LAST, weights_only=True)
    state["model"].popitem()
    torch.save(state, run / LAST)
    assert main(words(phantoms, run)) == 2
    assert "belongs to another network; delete it" in one_line(capsys)


def with_checkpoint_of_an_earlier_version(run: Path) -> None:
    torch.save({"pytorch-lightning_version": "2.6.6", "state_dict": {}}, run / LAST)


def test_a_finished_run_of_an_earlier_version_is_left_unchanged(
    phantoms: Path, run: Path
) -> None:
    with_checkpoint_of_an_earlier_version(run)
    names = (BEST, LAST, LOG, CONFIG)
    before = [(run / name).read_bytes() for name in names]
    assert main(words(phantoms, run)) == 0
    assert [(run / name).read_bytes() for name in names] == before


@pytest.mark.parametrize("lines", [0, 1, 2])  # of log.csv; three are the whole
def test_an_unfinished_run_of_an_earlier_version_is_refused_in_one_line(
    phantoms: Path, run: Path, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with_checkpoint_of_an_earlier_version(run)
    written = (run / LOG).read_text().splitlines(keepends=True)
    assert len(written) == 3
    (run / LOG).write_text("".join(written[:lines]))
    assert main(words(phantoms, run)) == 2
    hint = "was written by an earlier version of sonoseg; delete it, and the training starts again"
    assert hint in one_line(capsys)


HOLDER = """
import sys, time
from pathlib import Path
from sonoseg.lock import held
with held(Path(sys.argv[1])):
    print(1, flush=True)
    time.sleep(120)
"""


@contextlib.contextmanager
def another_process_in(folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_one_folder_takes_one_training_at_a_time_and_a_killed_one_leaves_no_lock(
    phantoms: Path, finished: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with another_process_in(run):
        for command in (
            words(phantoms, run),
            ["calibrate", str(run), "--data", str(phantoms), "--split", "grouped"],
        ):
            capsys.readouterr()
            assert main(command) == 2
            assert (
                "another sonoseg command is writing into this folder; wait"
                in capsys.readouterr().err
            )
    assert weights(run) == weights(finished)
    assert main(words(phantoms, run)) == 0  # its holder was killed
    with held(run):
        pass


def test_what_another_process_has_finished_meanwhile_is_not_begun_again(
    phantoms: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two commands began together in an empty folder; this one reads its images so long that the other ends first."""
    out, first_weights = tmp_path / "run", loop.first_weights

    def slow(*arguments: Any) -> SegmentationNetwork:
        shutil.copytree(finished, out)
        return first_weights(*arguments)

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "first_weights", slow)
        # A step would destroy the weights if it were reached.
        patch.setattr("sonoseg.train.step.Learner.step", stopped)
        assert main(words(phantoms, out)) == 0
    assert weights(out) == weights(finished)


def test_changed_masks_are_noticed_and_named(
    phantoms: Path,
    tmp_path: Path,
    run: Path,
    finished: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = Path(shutil.copytree(phantoms, tmp_path / phantoms.name))
    assert main(words(data, run)) == 0  # the same images elsewhere are the same
    mask = sorted((data / "masks").iterdir())[0]
    with Image.open(mask) as picture:
        pixels = np.array(picture)
    Image.fromarray(np.roll(pixels, 40, 1)).save(mask)
    capsys.readouterr()
    code = main(words(data, run))
    seen = {
        row.split(",")[1]: row.split(",")[2]
        for row in (run / "images.csv").read_text().splitlines()
    }
    if mask.name in seen:  # of the training or validation images
        assert code == 2
        assert (
            f"holds a run with 1 changed mask ({mask.name}); choose another --out"
            in one_line(capsys)
        )
    else:
        assert code == 0
    assert weights(run) == weights(finished)


def test_other_settings_are_told_by_what_differs_alone(
    phantoms: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(phantoms, run, "--epochs", "3", "--learning-rate", "0.01")) == 2
    expected = "other settings: learning_rate (0.001 there, 0.01 asked for) and epochs (2 there, 3 asked for)"
    hint = "choose another --out, or delete the folder"
    assert one_line(capsys) == f"sonoseg: {run}: holds a run with {expected}; {hint}\n"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (
            ["--encoders", "nope"],
            "--encoders nope: is out of range; give one or more of resnet18,",
        ),
        (["--encoders"], "--encoders: is out of range"),
        (
            ["--encoders", "resnet18", "resnet18"],
            "--encoders resnet18 resnet18: is out of range",
        ),
        (
            ["--widths", "1", "1", "1", "1", "--attention", "cbam"],
            "no such network can be built",
        ),
        (
            ["--widths", "200", "8", "8", "8", "--attention", "transformer"],
            "no such network can be built",
        ),
        (
            ["--widths", "100000000", "1", "1", "1"],
            "--widths 100000000 1 1 1: is out of range",
        ),
        (
            ["--batch", "1"],
            "--batch 1: a step of one image of 32 pixels is too little for batch normalisation",
        ),
        (
            ["--batch", "9" * 20],
            "is out of range; give a whole number from 1 to 100000",
        ),
        (
            ["--seed", "9" * 20],
            "is out of range; give a whole number from 0 to 16777215",
        ),
        (["--seed", "-1"], "--seed -1: is out of range"),
        (["--epochs", "9" * 20], "is out of range"),
        (["--patience", "9" * 20], "is out of range"),
        (
            ["--size", "1000000000"],
            "--size 1000000000: is not a multiple of 32 up to 4096",
        ),
        (["--learning-rate", "inf"], "--learning-rate inf: is out of range"),
        (["--dropout", "nan"], "--dropout nan: is out of range"),
    ],
)
def test_odd_options_are_one_line_before_anything_is_written(
    phantoms: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    problem: str,
) -> None:
    assert main(words(phantoms, tmp_path / "out", *more)) == 2
    assert problem in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_the_largest_seed_trains(phantoms: Path, tmp_path: Path) -> None:
    assert (
        main(words(phantoms, tmp_path / "out", "--seed", "16777215", "--epochs", "1"))
        == 0
    )


def test_too_little_memory_anywhere_is_one_line(
    phantoms: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: 9 bytes"
        )

    monkeypatch.setattr(loop, "first_weights", full)
    assert main(words(phantoms, tmp_path / "out")) == 2
    assert "not enough memory" in one_line(capsys)


ROOMS = [200_000, 8_000_000]
"""A limit of the size of files stands for the disk: the weights do not fit, or the checkpoint does not."""


def run_on_a_full_disk(
    phantoms: Path, out: Path, folder: Path, room: int
) -> forked.Ended:
    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    return forked.run(words(phantoms, out), folder, fill)


@pytest.mark.parametrize("room", ROOMS)
def test_a_disk_that_fills_loses_nothing(
    phantoms: Path, finished: Path, tmp_path: Path, room: int
) -> None:
    sizes = [(finished / name).stat().st_size for name in (BEST, LAST)]
    assert 200_000 < sizes[0] < 8_000_000 * 2 and sizes[1] > 8_000_000
    out = tmp_path / "new"
    done = run_on_a_full_disk(phantoms, out, tmp_path, room)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"sonoseg: {out}/") and "; " in line
    assert not [
        path
        for path in out.iterdir()
        if path.name.startswith(".") and path.name != ".lock"
    ]
    assert main(words(phantoms, out)) == 0
    assert weights(out) == weights(finished)


@pytest.mark.parametrize("room", ROOMS)
def test_a_finished_run_needs_no_room(
    phantoms: Path, run: Path, tmp_path: Path, room: int
) -> None:
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    run_on_a_full_disk(phantoms, run, tmp_path, room)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before


def odd(run: Path, *path: str, value: object) -> None:
    config = json.loads((SHIPPED["default"] / CONFIG).read_text())
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (run / CONFIG).write_text(json.dumps(config))


ODD = [
    (("network", "encoders"), ["nope"], "network.encoders is not one or more of"),
    (("network", "encoders"), [], "network.encoders is not one or more of"),
    (("network", "encoders"), [["resnet18"]], "network.encoders is not one or more of"),
    (("network", "attention"), 5, "network.attention is not one of none, cbam"),
    (("network", "widths"), [1], "network.widths is not four whole numbers"),
    (
        ("network", "widths"),
        [10**400, 1, 1, 1],
        "network.widths is not four whole numbers",
    ),
    (("network", "inner"), 5, "network.inner is not whole numbers"),
    (("network", "skips"), "yes", "network.skips is not true or false"),
    (("network", "color"), "red", "network has the unknown key color"),
    (("network",), [], "config.network is not an object"),
    (("recipe", "dropout"), "x", "recipe.dropout is not a number from 0 to below 1"),
    (
        ("recipe", "dropout"),
        float("nan"),
        "not the config of a sonoseg run (is not JSON (NaN is not a number))",
    ),
    (("recipe", "batch"), 8.0, "recipe.batch is not a whole number"),
    (("recipe", "batch"), True, "recipe.batch is not a whole number"),
    (
        ("recipe", "learning_rate"),
        10**400,
        "recipe.learning_rate is not a number above 0",
    ),
    (("size",), "192", "config.size is not a multiple of 32 up to 4096"),
    (("size",), 10**9, "config.size is not a multiple of 32"),
    (("seed",), -1, "config.seed is not a whole number"),
    (("lineage",), {}, "config.lineage is not a list of configs"),
    (
        ("lineage",),
        [json.loads('{"a":' + "[" * 10 + "]" * 10 + "}")],
        "config.lineage is not a list of configs",
    ),
    (
        ("lineage",),
        [json.loads('{"a":' + "[" * 400 + "]" * 400 + "}")],
        "is nested over 64 levels deep",
    ),
    (("lineage",), [{}], "config has no model"),
    (("lineage",), [{"data": [1], "split": {}, "size": "x"}], "config has no model"),
    (("teachers",), [1], "config.teachers is not a list of texts"),
    (("model",), "nope", "not the config of a sonoseg run"),
    (("model",), ["sonoseg-1"], "config.model is not a text"),
]


@pytest.mark.parametrize(("path", "value", "problem"), ODD)
def test_every_value_of_a_config_is_checked(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    path: tuple[str, ...],
    value: object,
    problem: str,
) -> None:
    odd(tmp_path, *path, value=value)
    assert (
        main(["average", str(tmp_path), "--half", "--out", str(tmp_path / "out")]) == 2
    )
    assert problem in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_a_config_nested_without_end_or_of_channels_that_are_not_there_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / CONFIG).write_text("[" * 100_000)
    assert (
        main(["average", str(tmp_path), "--half", "--out", str(tmp_path / "out")]) == 2
    )
    assert "not the config of a sonoseg run" in one_line(capsys)
    odd(tmp_path, "network", "inner", value=[60_000] * 21)
    assert (
        main(["average", str(tmp_path), "--half", "--out", str(tmp_path / "out")]) == 2
    )
    assert "it describes no network that can be built; train it again" in one_line(
        capsys
    )


def test_the_shipped_config_is_read_back_as_it_is() -> None:
    config = RunConfig.read(SHIPPED["default"])
    assert RunConfig.from_json(config.to_json()) == config


def test_evaluate_says_which_images_the_run_has_seen(
    phantoms: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Scored on all images, those that were trained on are counted by their pixels, in runs made of it too."""
    data = tmp_path / "renamed"
    for part in ("images", "masks"):
        (data / part).mkdir(parents=True)
        for number, file in enumerate(sorted((phantoms / part).iterdir())):
            shutil.copy(file, data / part / f"other{number}.png")
    rows = (run / "images.csv").read_text().splitlines()
    trained, chosen = (
        sum(f",{subset}," in row for row in rows) for subset in ("train", "validation")
    )
    assert main(["average", str(run), "--half", "--out", str(tmp_path / "half")]) == 0
    for folder in (run, tmp_path / "half"):
        out = tmp_path / f"{folder.name}-scores"
        capsys.readouterr()
        assert (
            main(["evaluate", str(folder), "--data", str(data), "--out", str(out)]) == 0
        )
        about = json.loads((out / "metrics.json").read_text())["about"]
        assert (about["trained_on"], about["chosen_on"]) == (trained, chosen)
        text = capsys.readouterr().out
        assert (
            f"{trained} of these 24 images were used to train this network: their scores are memory"
            in text
        )
        assert f"{chosen} of these 24 images were used to choose the epoch" in text
    out = tmp_path / "test-scores"
    seen = {row.split(",")[1] for row in rows}
    files = [path.name for path in sorted((phantoms / "images").iterdir())]
    lines = [
        f"other{number}.png,test"
        for number, name in enumerate(files)
        if name not in seen
    ]
    (tmp_path / "split.csv").write_text("\n".join(["file,subset", *lines]))
    split = ["--split", str(tmp_path / "split.csv")]
    assert (
        main(["evaluate", str(run), "--data", str(data), *split, "--out", str(out)])
        == 0
    )
    about = json.loads((out / "metrics.json").read_text())["about"]
    assert (about["trained_on"], about["chosen_on"]) == (0, 0)
    assert "their scores are memory" not in capsys.readouterr().out
