"""The engine with a scheduler and two worker processes; and the three commands on it, with workers that die."""

from __future__ import annotations

import csv
import filecmp
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from distributed import Client
from tests.archive.test_archive import masks_of, rows_of
from tests.jobs_for_workers import Noted, Prepared
from tests.reproduction.conftest import smallest, ten_phantoms, train_smallest

from sonoseg.archive.command import archive_command
from sonoseg.cli import main
from sonoseg.cluster import Workers, _local_cluster, connected
from sonoseg.data.phantom import write_phantoms
from sonoseg.errors import MachineError
from sonoseg.jobs import JOBS_A_WORKER, outcomes, run_jobs

SWEEP = "--split grouped --encoder-weights none --size 32 --grid epochs=1,2"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A scheduler in this process, and two workers, which are processes."""
    with _local_cluster(Workers(2)) as started:
        with connected(Workers(cluster=started.scheduler_address)) as client:
            client.register_plugin(Prepared())
        yield started


@pytest.fixture(scope="module")
def phantoms(made_once: Any) -> Path:
    """Those on which `train_smallest` trains."""
    return ten_phantoms(made_once)


def test_a_worker_trains_with_the_threads_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dask alone would give PyTorch one thread."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with _local_cluster(Workers(1)) as started, Client(started) as client:
        assert client.submit(torch.get_num_threads).result(60) == 2


def wait_for(happens: Callable[[], object], seconds: float = 1200) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.05)


def kill_a_worker_when(cluster: Any, happens: Callable[[], object]) -> threading.Thread:
    """Kills a worker that has a job, once something has happened."""

    def wait_and_kill() -> None:
        wait_for(happens)
        states = cluster.scheduler.workers
        busy = {address for address, state in states.items() if state.processing}
        for nanny in cluster.workers.values():
            if nanny.worker_address in busy:
                os.kill(nanny.pid, signal.SIGKILL)
                return

    thread = threading.Thread(target=wait_and_kill)
    thread.start()
    return thread


def log_of(run: Path) -> list[dict[str, str]]:
    """The epochs of a run, without the seconds that they took."""
    with (run / "log.csv").open(newline="") as file:
        return [row | {"seconds": ""} for row in csv.DictReader(file)]


def test_jobs_are_shared_and_survive_their_workers(
    cluster: Any, tmp_path: Path
) -> None:
    """A job that ends its worker once is done by the next; one that always does is given up, as one that fails."""
    listed = [Noted(tmp_path, f"good-{number}") for number in range(8)]
    once = Noted(tmp_path, "once", "die", times=1)
    always = Noted(tmp_path, "always", "die", times=9)
    fails = Noted(tmp_path, "fails", "fail", times=9)
    wrong = Noted(tmp_path, "wrong", "wrong input", times=9)
    cluster.scheduler.allowed_failures = 0
    workers = Workers(cluster=cluster.scheduler_address)
    ended = dict(run_jobs([once, always, fails, wrong, *listed], workers))
    cluster.scheduler.allowed_failures = 2
    reasons = {}
    for job, failure in ended.items():
        if failure is not None:
            reasons[job.name] = failure.reason
    assert reasons == {
        "always": "its worker died each time, perhaps for lack of memory",
        "fails": "RuntimeError: no luck",
        "wrong": "wrong: is wrong; give another",
    }
    counted = {job.name: len(job.attempts()) for job in ended}
    # What died beside another job is tried again alone.
    assert counted.pop("once") >= 2 and counted.pop("always") >= 2
    good = {job.name: 1 for job in listed}
    assert counted == good | {"fails": 3, "wrong": 1}


def test_few_jobs_are_taken_from_a_long_list(cluster: Any, tmp_path: Path) -> None:
    """So the memory does not grow with the number of jobs."""
    taken = 0

    def endless() -> Iterator[Noted]:
        nonlocal taken
        for taken in itertools.count(1):
            yield Noted(tmp_path, f"job-{taken}")

    ended = outcomes(endless(), Workers(cluster=cluster.scheduler_address))
    for count, _ in enumerate(itertools.islice(ended, 20), start=1):
        assert taken - count < 2 * JOBS_A_WORKER
    ended.close()


@pytest.mark.timeout(1800)
def test_a_sweep_whose_workers_die_and_whose_client_dies_ends_as_one_process_would(
    cluster: Any, phantoms: Path, tmp_path: Path
) -> None:
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    line = ["sweep", "sonoseg-1", "--data", str(phantoms), *SWEEP.split()]
    assert main([*line, "--out", str(alone)]) == 0
    on_cluster = [*line, "--cluster", cluster.scheduler_address, "--out", str(shared)]
    # The client is killed when a training has begun. The workers go on with what they do.
    client = subprocess.Popen([sys.executable, "-m", "sonoseg.cli", *on_cluster])
    logs = [shared / "trials" / f"epochs={number}" / "log.csv" for number in (1, 2)]
    wait_for(lambda: any(log.exists() for log in logs))
    client.kill()
    client.wait()
    states = cluster.scheduler.workers
    is_at_work = lambda: any(state.processing for state in states.values())  # noqa: E731
    killing = kill_a_worker_when(cluster, is_at_work)
    assert main(on_cluster) == 0
    killing.join()
    for name in ("epochs=1", "epochs=2"):
        one, other = (out / "trials" / name for out in (alone, shared))
        assert log_of(one) == log_of(other)
        best = "best.safetensors"
        assert filecmp.cmp(one / best, other / best, shallow=False)
        scores = [json.loads((run / "trial.json").read_text()) for run in (one, other)]
        assert scores[0] | {"seconds": 0} == scores[1] | {"seconds": 0}
    tables = []
    for out in (alone, shared):
        with (out / "sweep.csv").open(newline="") as file:
            tables.append([row | {"seconds": ""} for row in csv.DictReader(file)])
    assert tables[0] == tables[1]
    assert (shared / "winner.txt").read_text() == (alone / "winner.txt").read_text()


@pytest.mark.timeout(1800)
def test_a_reproduction_whose_workers_die_ends_as_one_process_would(
    cluster: Any, phantoms: Path, tmp_path: Path, made_once: Any
) -> None:
    alone, shared = train_smallest(made_once), tmp_path / "shared"
    name = "runs/model-15-grouped-0"
    checkpoint = shared / name / "last.ckpt"
    killing = kill_a_worker_when(cluster, checkpoint.exists)
    on_cluster = [*smallest(phantoms, shared), "--models", "15"]
    assert main([*on_cluster, "--cluster", cluster.scheduler_address]) == 0
    killing.join()
    assert log_of(alone / name) == log_of(shared / name)
    compared = ["best.safetensors", "faithfulness.json"]
    compared += [f"{subset}/cases.csv" for subset in ("train", "validation", "test")]
    for file in compared:
        assert filecmp.cmp(alone / name / file, shared / name / file, shallow=False)
    for table in ("dice-grouped.csv", "claims-grouped.csv"):
        one, other = (out / "tables" / table for out in (alone, shared))
        assert filecmp.cmp(one, other, shallow=False)


CLIENT = """
import sys
from pathlib import Path
from sonoseg.archive.command import archive_command

archive_command([Path(sys.argv[1])], out=Path(sys.argv[2]), cluster=sys.argv[3], shard=3)
"""


@pytest.mark.timeout(1800)
def test_an_archive_survives_workers_client_and_a_poisoned_image(
    cluster: Any, tmp_path: Path
) -> None:
    """The poisoned image ends every worker that reads it. All others have the rows and masks of one process."""
    archive, alone, shared = (tmp_path / name for name in ("data", "alone", "shared"))
    write_phantoms(archive, 24, size=(128, 160))
    picture = archive / "images" / "synthetic_00.png"
    shutil.copy(picture, archive / "poison.png")
    (archive / "damaged.png").write_bytes(picture.read_bytes()[:300])
    text, code = archive_command([archive], out=alone, workers=1, shard=3)
    assert code == 1 and "1 failed" in text
    parts = shared / "parts"

    def done() -> int:
        return len(list(parts.glob("*.parquet")))

    client = subprocess.Popen(
        [sys.executable, "-c", CLIENT, archive, shared, cluster.scheduler_address]
    )
    wait_for(lambda: done() >= 2)
    client.kill()
    client.wait()
    before = done()
    killing = kill_a_worker_when(cluster, lambda: done() > before)
    arguments: dict[str, Any] = {"out": shared, "cluster": cluster.scheduler_address}
    text, code = archive_command([archive], **arguments, shard=3)
    killing.join()
    assert code == 1 and "2 failed" in text
    rows, expected = rows_of(shared), rows_of(alone)
    poisoned = rows.pop(("poison.png", None))
    assert poisoned["reason"] == "3 processes ended while they segmented it"
    mask = expected.pop(("poison.png", None))["mask"]
    assert rows == expected
    masks = masks_of(alone)
    del masks[mask]
    assert masks_of(shared) == masks


def test_a_scheduler_that_goes_is_one_line(tmp_path: Path) -> None:
    """The jobs that were running are done by the next call."""
    with _local_cluster(Workers(1)) as own:
        jobs = [Noted(tmp_path, "first"), Noted(tmp_path, "second")]
        ended = run_jobs(jobs, Workers(cluster=own.scheduler_address))
        next(ended)
        own.close()
        with pytest.raises(MachineError, match="connection to the scheduler was lost"):
            Counter(ended)
