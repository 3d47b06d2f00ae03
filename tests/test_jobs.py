"""The engine in one process: attempts, failures, and what messages say. `test_cluster.py` has the workers."""

from __future__ import annotations

import logging
import pickle
import threading
from pathlib import Path

import pytest
from tests.jobs_for_workers import Locked, Noted

from sonoseg import cluster, jobs
from sonoseg.cluster import Workers
from sonoseg.errors import InputError, MachineError
from sonoseg.jobs import Countdown, Failure, attempt, duration, run_jobs
from sonoseg.lock import held


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "PAUSE", 0.01)


def test_a_job_that_fails_is_tried_three_times_and_the_rest_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listed = [
        Noted(tmp_path, "good"),
        Noted(tmp_path, "bad", "fail", times=9),
        Noted(tmp_path, "wrong", "wrong input", times=9),
        Noted(tmp_path, "lucky", "fail", times=2),
    ]
    with caplog.at_level(logging.INFO, "sonoseg"):
        ended = dict(run_jobs(listed, Workers(), done=1))
    assert [len(job.attempts()) for job in listed] == [1, 3, 1, 3]
    reasons = [ended[job].reason if ended[job] else "" for job in listed]
    wrong = "wrong: is wrong; give another"
    assert reasons == ["", "RuntimeError: no luck", wrong, ""]
    failure = ended[listed[1]]
    assert failure is not None and "jobs_for_workers.py" in failure.traceback
    assert "1 of 5 done; now good" in caplog.messages
    assert f"sonoseg: wrong failed: {wrong}" in caplog.messages
    assert caplog.messages[-1].startswith("4 of 5 done, about ")
    assert caplog.messages[-1].endswith(" left; now lucky")


def test_what_another_process_is_at_is_waited_for(tmp_path: Path) -> None:
    with held(tmp_path):
        thread = threading.Thread(target=attempt, args=[Locked(tmp_path)])
        thread.start()
        thread.join(0.1)
        assert thread.is_alive() and not (tmp_path / "locked").exists()
    thread.join(30)
    assert (tmp_path / "locked").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried"), "not enough memory"),
        (ZeroDivisionError(), "ZeroDivisionError"),
        (ValueError("two\nlines"), "ValueError: two lines"),
        (MachineError("x", "is full", "free it"), "x: is full; free it"),
    ],
)
def test_a_failure_is_one_line_and_can_be_sent(error: Exception, reason: str) -> None:
    failure = pickle.loads(pickle.dumps(Failure.of(error)))
    assert failure.reason == reason
    assert type(error).__name__ in failure.traceback


def test_the_time_left_is_that_of_the_jobs_of_this_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([100.0, 400.0])
    monkeypatch.setattr(jobs.time, "monotonic", lambda: next(clock))
    countdown = Countdown(10, done=4)
    assert str(countdown) == "4 of 10 done"
    countdown.done = 6
    assert str(countdown) == "6 of 10 done, about 10 min left"  # 2 took 300 s


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (90, "2 min"), (3601, "1 h 0 min"), (11100, "3 h 5 min")],
)
def test_durations_are_read_at_a_glance(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("workers", "problem"),
    [
        (Workers(-1), "--workers -1: is out of range; give 0 to 1024"),
        (Workers(2, "tcp://x:1"), "--cluster tcp://x:1: cannot be used with --workers"),
        (Workers(cluster="there"), "--cluster there: is neither an address nor"),
        (Workers(cluster="http://a/b:1"), "is neither an address nor"),
    ],
)
def test_workers_that_cannot_be_are_refused(workers: Workers, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        workers.check()
    assert problem in str(caught.value)


def test_without_dask_one_process_can_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    Workers().check()
    Workers(1, gpus=("0", "1")).check()
    for several in (Workers(2), Workers(gpus=("0", "1")), Workers(cluster="a:1")):
        with pytest.raises(InputError, match=r"pip install '\.\[cluster\]'"):
            several.check()


def test_each_gpu_has_a_worker_and_without_them_the_cores_are_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The workers of a local cluster are described as Dask's Nanny is told."""
    seen = {}
    monkeypatch.setattr("distributed.SpecCluster", lambda each, *_, **__: each)
    monkeypatch.setattr(cluster, "usable_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, workers in {
        "gpus": Workers(gpus=("2", "5")),
        "cores": Workers(3),
        "more": Workers(3, gpus=("2", "5")),
    }.items():
        specs = cluster._local_cluster(workers)
        seen[name] = [spec["options"]["env"] for spec in specs.values()]
        assert all(spec["options"]["nthreads"] == 1 for spec in specs.values())
    gpus = [env["CUDA_VISIBLE_DEVICES"] for env in seen["gpus"]]
    assert gpus == ["2", "5"]
    assert [env["CUDA_VISIBLE_DEVICES"] for env in seen["more"]] == ["2", "5", "2"]
    assert seen["cores"] == [{"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}] * 3
