"""Several processes train one network, as one process with the larger batch would."""

from __future__ import annotations

import csv
import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests import forked
from torch import nn

from sonoseg.cli import main
from sonoseg.data.phantom import write_phantoms
from sonoseg.errors import InputError
from sonoseg.train import loop
from sonoseg.train.device import make_fabric
from sonoseg.train.processes import Processes, find_processes, warn_of_srun

TOLD = """
import json, os, sys
told = {name: os.environ[name] for name in os.environ.keys() & set(sys.argv[2:])}
with open(os.path.join(sys.argv[1], "told-" + told["RANK"]), "w") as file:
    json.dump(told, file)
"""
NAMES = ("TORCHELASTIC_RUN_ID", "RANK", "LOCAL_RANK", "GROUP_RANK", "MASTER_ADDR")
NAMES += ("WORLD_SIZE", "LOCAL_WORLD_SIZE")


def make_comparable(patch: pytest.MonkeyPatch) -> None:
    """Without this, one process and several would not compute alike.

    Batch statistics are of a process's own images where there is no GPU to share them, and bfloat16 rounds.
    """
    patch.setattr(
        nn.BatchNorm2d, "train", lambda self, _=True: nn.Module.train(self, False)
    )
    patch.setattr(loop, "has_bfloat16", lambda: False)


def test_alone_it_is_the_first_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))
    ]:
        monkeypatch.delenv(name)
    assert find_processes() == Processes(0, 1, 1)
    assert find_processes().first


def test_torchrun_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "TORCHELASTIC_RUN_ID": "1",
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "4",
        "LOCAL_RANK": "1",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert find_processes() == Processes(5, 8, 2)
    assert not find_processes().first


def slurm(monkeypatch: pytest.MonkeyPatch, **told: str) -> None:
    monkeypatch.setattr(
        "lightning_fabric.plugins.environments.slurm.shutil.which",
        lambda _: "/usr/bin/srun",
    )
    common = {
        "SLURM_NTASKS": "6",
        "SLURM_JOB_NAME": "train",
        "SLURM_PROCID": "4",
        "SLURM_NNODES": "3",
    }
    for name, value in {**common, **told}.items():
        monkeypatch.setenv(name, value)


def test_slurm_says_in_two_ways_how_many_tasks_a_machine_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slurm(monkeypatch, SLURM_NTASKS_PER_NODE="2(x3)", SLURM_STEP_ID="0")
    assert find_processes() == Processes(4, 6, 3)


@pytest.mark.parametrize("each", ["0", "-2", "4", "7", "two", "2(x2),1", "9" * 5000])
def test_processes_that_are_spread_unevenly_are_refused(
    monkeypatch: pytest.MonkeyPatch, each: str
) -> None:
    slurm(monkeypatch, SLURM_NTASKS_PER_NODE=each, SLURM_STEP_ID="0")
    with pytest.raises(
        InputError,
        match=r"torchrun or srun: process 4 of 6, .* on each machine, is impossible; start",
    ):
        find_processes()


def test_slurm_says_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm(monkeypatch, SLURM_NTASKS_PER_NODE="2")
    assert find_processes() == Processes(4, 6, 3)


BATCH = {"SLURM_NTASKS_PER_NODE": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}


@pytest.mark.parametrize("step", [None, "", "4294967291", "4294967292"])
def test_a_batch_script_of_slurm_without_srun_is_alone_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, step: str | None
) -> None:
    slurm(monkeypatch, **BATCH)
    monkeypatch.delenv("SLURM_STEP_ID", raising=False)
    if step is not None:
        monkeypatch.setenv("SLURM_STEP_ID", step)
    warn_of_srun.cache_clear()
    assert find_processes() == find_processes() == Processes(0, 1, 1)
    note = "note: this job of SLURM has 6 tasks, but was started without srun: one process trains alone"
    assert caplog.messages == [note]  # once


def test_the_first_task_of_srun_is_one_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm(monkeypatch, **BATCH, SLURM_STEP_ID="0")
    assert find_processes() == Processes(0, 6, 3)


def test_a_training_of_one_process_does_not_wait_for_slurms_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slurm(monkeypatch, **BATCH)
    fabric = make_fabric(find_processes())
    fabric.launch()
    assert fabric.world_size == 1


def test_slurm_must_say_how_many_a_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm(monkeypatch)
    with pytest.raises(InputError, match="--ntasks-per-node"):
        find_processes()


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """The variables that torchrun gives to each of two processes."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "script.py").write_text(TOLD)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(folder / "script.py"), str(folder), *NAMES]
    subprocess.run(command, check=True, capture_output=True, timeout=240)
    return [json.loads((folder / f"told-{rank}").read_text()) for rank in range(2)]


def words(folder: Path, out: str, batch: int) -> list[str]:
    """Trains on the phantoms in `folder`, with `batch` images a step in each process."""
    line = f"train sonoseg-1 --data {folder / 'phantoms'} --split grouped --out {folder / out} --size 32"
    line += f" --encoders tf_efficientnet_lite0 --widths 16 16 8 8 --batch {batch} --epochs 2"
    line += (
        " --encoder-weights none --presence none --loss bce --dropout 0 --augment none"
    )
    return line.split()


def train_in_two(folder: Path, told: list[dict[str, str]]) -> list[forked.Ended]:
    """Trains in a process for each of `told`, its variables.

    The processes are copies of this one: torchrun's own would import PyTorch again.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])

    def prepare(variables: dict[str, str]) -> None:
        os.environ.update(variables, MASTER_PORT=port)
        make_comparable(pytest.MonkeyPatch())

    started = []
    for rank, variables in enumerate(told):
        prints = folder / f"prints-{rank}"
        prints.mkdir(exist_ok=True)
        begin = functools.partial(prepare, variables)
        started.append((forked.start(words(folder, "two", 2), prints, begin), prints))
    return [forked.end(*each) for each in started]


def log_of(folder: Path) -> list[dict[str, float]]:
    with (folder / "log.csv").open(newline="", encoding="utf-8") as file:
        return [
            {name: float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]


def test_two_processes_train_as_one_with_twice_the_batch_and_go_on_where_they_stopped(
    tmp_path: Path, told: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_phantoms(tmp_path / "phantoms", 20, size=(128, 128))
    make_comparable(monkeypatch)
    assert main(words(tmp_path, "one", 4)) == 0
    two = train_in_two(tmp_path, told)
    assert [ended.returncode for ended in two] == [0, 0], two
    logs = [log_of(tmp_path / name) for name in ("one", "two")]
    assert [row["epoch"] for row in logs[1]] == [1, 2]
    for first, second in zip(*logs, strict=True):
        for name in first.keys() - {"seconds"}:
            assert second[name] == pytest.approx(first[name], rel=2e-4, abs=2e-5), name
    assert ["2 epochs" in ended.stdout for ended in two] == [True, False]
    again = train_in_two(tmp_path, told)
    assert [ended.returncode for ended in again] == [0, 0], again
    assert log_of(tmp_path / "two") == logs[1]
