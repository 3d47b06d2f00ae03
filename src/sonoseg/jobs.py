"""Runs independent jobs: here one after the other, in several processes, or on a Dask cluster.

A job leaves its result on disk. If it is interrupted, whoever runs it again continues it. So nothing needs to be known
of an earlier call: the caller looks which results are missing, and runs these jobs.

If a worker dies, Dask gives its job to another one. Dask is imported only if there are workers.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import threading
import time
import traceback
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from sonoseg.cluster import ATTEMPTS, Workers, connected
from sonoseg.errors import InputError, MachineError, is_out_of_memory
from sonoseg.lock import Busy
from sonoseg.progress import close_bars

if TYPE_CHECKING:
    from distributed import Client, Future

PAUSE = 5.0
"""Seconds between two attempts."""
JOBS_A_WORKER = 2
"""Jobs that are sent ahead: one that runs, and one that waits."""
_one_job = threading.Lock()
"""PyTorch's seeds and settings belong to the whole process: one job at a time, however many threads a worker has."""
_logger = logging.getLogger(__name__)


class Job(Protocol):
    """A piece of work. It is pickled to be sent to a worker."""

    @property
    def name(self) -> str:
        """What messages call it; no other job of the list has the same name."""

    def run(self) -> None:
        """Does the work, or the rest of it, and writes the result. Any error counts as a failure."""


JobT = TypeVar("JobT", bound=Job)


@dataclass(frozen=True)
class Failure:
    """Why a job failed: in one line, and the whole traceback."""

    reason: str
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Describes an error."""
        words = " ".join(str(error).split())
        if is_out_of_memory(error):
            words = "not enough memory"
        elif not isinstance(error, InputError):
            words = (
                f"{type(error).__name__}: {words}" if words else type(error).__name__
            )
        return cls(words, "".join(traceback.format_exception(error)))


DIED = Failure("its worker died each time, perhaps for lack of memory")


def run_jobs(
    jobs: Sequence[JobT], workers: Workers, done: int = 0
) -> Iterator[tuple[JobT, Failure | None]]:
    """Runs all jobs, and logs how far they are, how long the rest may take, and what failed.

    Args:
        jobs: those without a result.
        workers: who does them.
        done: jobs that an earlier call has done, for the messages.

    Yields:
        each job that has ended, with the reason if it failed. A failed job does not stop the others.

    Raises:
        InputError: the scheduler cannot be reached, or not any more.
    """
    countdown = Countdown(done + len(jobs), done)
    is_here = workers.are_here

    def announced() -> Iterator[JobT]:
        for job in jobs:
            if is_here:
                _logger.info("%s; now %s", str(countdown), job.name)
            yield job

    with contextlib.closing(outcomes(announced(), workers)) as ended:
        for job, failure in ended:
            close_bars()
            countdown.done += 1
            if failure is not None:
                _logger.error("sonoseg: %s failed: %s", job.name, failure.reason)
            if not is_here:
                _logger.info("%s; %s has ended", str(countdown), job.name)
            yield job, failure


class Countdown:
    """How many jobs have ended, and how long the rest may take, as text."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.done = total, done
        self._before, self._began = done, time.monotonic()

    def skip(self, count: int) -> None:
        """Counts jobs that an earlier call has done."""
        self.done += count
        self._before += count

    def __str__(self) -> str:
        text = f"{self.done} of {self.total} done"
        ended = self.done - self._before
        if not ended:
            return text
        each = (time.monotonic() - self._began) / ended
        return f"{text}, about {duration(each * (self.total - self.done))} left"


def duration(seconds: float) -> str:
    """Returns seconds in words: 40 s, 12 min, 3 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def outcomes(
    jobs: Iterable[JobT], workers: Workers
) -> Generator[tuple[JobT, Failure | None]]:
    """As `run_jobs`, without messages, for any number of jobs: few of them are taken from the iterable ahead."""
    if workers.are_here:
        for job in jobs:
            yield job, attempt(job)
        return
    place = workers.cluster or "workers"
    with connected(workers) as client:
        suspects: list[JobT] = []
        for job, failure in _outcomes_of(client, jobs, place):
            if failure == DIED:
                suspects.append(job)
            else:
                yield job, failure
        # A worker that dies takes the jobs that wait for it along. Only a job that runs alone is known to be the cause.
        for job in suspects:
            yield from _outcomes_of(client, [job], place)


def attempt(job: Job) -> Failure | None:
    """Runs a job. If it fails, it is tried again, unless the user must change something first.

    If another process is at it, as when the client was killed and its workers were not, this one waits.
    """
    tries = 0
    while True:
        try:
            job.run()
            return None
        except Busy:
            pass
        except Exception as error:
            tries += 1
            is_final = isinstance(error, InputError) and not isinstance(
                error, MachineError
            )
            if is_final or tries == ATTEMPTS:
                return Failure.of(error)
        time.sleep(PAUSE)


def _attempt_there(job: Job, folder: str) -> Failure | None:
    """`attempt` on a worker, where paths must mean the same as in the folder of the client."""
    # A worker that srun has started would otherwise wait for the other tasks, to train one network together.
    os.environ.pop("SLURM_NTASKS", None)
    with _one_job:
        try:
            os.chdir(folder)
        except OSError as error:
            hint = "the workers must see the same folders as the command"
            problem = f"is not there on a worker ({error.strerror})"
            return Failure.of(InputError(folder, problem, hint))
        return attempt(job)


def _outcomes_of(
    client: Client, jobs: Iterable[JobT], place: str
) -> Iterator[tuple[JobT, Failure | None]]:
    """Keeps the workers supplied with jobs, and yields those that have ended.

    Raises:
        MachineError: the scheduler is not there any more.
    """
    from distributed import as_completed

    folder = str(Path.cwd())
    left = iter(jobs)
    running: dict[str, JobT] = {}
    ended = as_completed()
    try:
        if not client.nthreads():
            _logger.info("%s has no workers yet; waiting for the first", place)
        while True:
            room = JOBS_A_WORKER * max(1, len(client.nthreads())) - len(running)
            for job in itertools.islice(left, max(0, room)):
                future = client.submit(_attempt_there, job, folder, pure=False)
                running[future.key] = job
                ended.add(future)
            if not running:
                return
            future = next(ended)
            failure = _failure_of(future)
            yield running.pop(future.key), failure
    except OSError as error:  # so are Dask's errors of connections
        problem = "the connection to the scheduler was lost"
        hint = "start the scheduler and its workers, then the same command again"
        raise MachineError(place, problem, hint) from error


def _failure_of(future: Future) -> Failure | None:
    """How a job ended.

    Raises:
        OSError: it was cancelled, as jobs are when the scheduler is not there any more.
    """
    from distributed import KilledWorker

    if future.status == "finished":
        failure: Failure | None = future.result()
        return failure
    error = future.exception() if future.status == "error" else None
    if error is None:
        raise OSError(future.status)
    return DIED if isinstance(error, KilledWorker) else Failure.of(error)
