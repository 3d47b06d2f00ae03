"""`sonoseg reproduce`: does the jobs that are not done, on every GPU, and writes the report.

Several processes, also on several machines, can work on the same folder.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from sonoseg.errors import InputError
from sonoseg.files import output_folder
from sonoseg.progress import close_bars, on_stderr
from sonoseg.reproduction.jobs import Job, in_order, jobs_in, parse_models, plan
from sonoseg.reproduction.settings import ReproductionSettings

if TYPE_CHECKING:
    from sonoseg.reproduction.material import Material

_logger = logging.getLogger(__name__)


def reproduce_command(settings: ReproductionSettings) -> tuple[str, int]:
    """Checks everything, does the jobs, and writes the report.

    Returns:
        Text for the terminal, and the exit code: 0, or 1 if a job failed or was not done.

    Raises:
        InputError: settings or data are wrong, or the folder has results of other settings.
    """
    import torch

    from sonoseg.reproduction.material import Material
    from sonoseg.reproduction.work import check
    from sonoseg.reproduction.write_report import write_report

    settings = replace(settings, out=settings.out.absolute())
    jobs = plan(parse_models(settings.models), settings.splits, settings.seeds)
    earlier = jobs_in(settings.out)
    settings.check()
    if settings.report_only:
        return report_only(settings, jobs, earlier), 0
    material = Material.read(settings, [job.split for job in earlier])
    check(jobs + earlier, settings, material)
    output_folder(settings.out / "runs")
    gpus = torch.cuda.device_count()
    workers = settings.workers or max(1, gpus)
    died = 0
    if workers > 1:
        died = work_in_processes(settings, jobs, material, workers, gpus)
    else:
        work(settings, jobs, material)
    write_report(settings, in_order(jobs + jobs_in(settings.out)), material)
    return describe_end(settings, jobs, workers, died)


def report_only(
    settings: ReproductionSettings, jobs: list[Job], earlier: list[Job]
) -> str:
    """Writes the report of the results in `settings.out`. Trains nothing.

    Raises:
        InputError: there are no results, or the data does not exist.
    """
    from sonoseg.reproduction.material import Material
    from sonoseg.reproduction.write_report import write_report

    done = [job for job in earlier if job.result(settings.out) is not None]
    if not done:
        hint = "give the --out of an earlier call, or leave --report-only out"
        raise InputError(settings.out, "holds no results to report", hint)
    material = Material.read(settings, [job.split for job in earlier])
    write_report(settings, in_order(jobs + earlier), material)
    return f"{settings.out / 'report.html'}: {len(done)} results there"


def describe_end(
    settings: ReproductionSettings, jobs: Sequence[Job], workers: int, died: int
) -> tuple[str, int]:
    """Returns what was done, failed and is left, as text for the terminal, and the exit code."""
    not_done = [job for job in jobs if job.result(settings.out) is None]
    failed: list[str] = []
    left: list[Job] = []
    for job in not_done:
        reason = job.failure(settings.out)
        if reason:
            failed.append(f"{job.name}: {reason}")
        else:
            left.append(job)
    elsewhere = sum(is_worked_at(job, settings) for job in left)
    nobody_at = len(left) - elsewhere
    done = f"{len(jobs) - len(not_done)} of {len(jobs)} done"
    lines = [f"{settings.out / 'report.html'}: {done}"]
    if failed:
        lines[0] += f", {len(failed)} failed; the same command tries these again"
        lines += failed
    if elsewhere:
        lines.append(
            f"{elsewhere} are being worked at by other processes; the last to end writes the whole report"
        )
    if died:
        hint = f"try --workers {workers - 1}"
        lines.append(
            f"{died} of {workers} workers did not end well, perhaps for lack of memory; {hint}"
        )
    if nobody_at:
        lines.append(
            f"{nobody_at} are not done and no process works on them; run the same command again"
        )
    is_bad = bool(failed or died or nobody_at)
    return "\n".join(lines), 1 if is_bad else 0


def is_worked_at(job: Job, settings: ReproductionSettings) -> bool:
    """Whether another process holds the job's lock."""
    try:
        with lock_of(job, settings):
            return False
    except Timeout:
        return True


def lock_of(job: Job, settings: ReproductionSettings) -> FileLock:
    """Returns the lock of the process that does the job. The system removes it when that process ends."""
    return FileLock(settings.out / "runs" / f".{job.name}.lock", timeout=0)


def work_in_processes(
    settings: ReproductionSettings,
    jobs: Sequence[Job],
    material: Material,
    workers: int,
    gpus: int,
) -> int:
    """Runs `work` in several processes. Each has a GPU of its own; without GPUs they share the processor cores.

    Returns:
        How many of them were killed or ended by an error.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    processes = []
    for number in range(workers):
        gpu = str(number % gpus) if gpus else ""
        arguments = (settings, jobs, material, gpu, workers)
        processes.append(context.Process(target=_worker, args=arguments))
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join()
    except KeyboardInterrupt:
        for process in processes:
            process.join()
        raise
    return sum(process.exitcode != 0 for process in processes)


def _worker(
    settings: ReproductionSettings,
    jobs: Sequence[Job],
    material: Material,
    gpu: str,
    workers: int,
) -> None:
    """The whole life of a process. It ends with exit code 0 if it could work to the end."""
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    else:  # with more threads than cores, the threads would wait for each other
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    with on_stderr():  # a new process shows nothing unless it is told to
        try:
            work(settings, jobs, material)
        except KeyboardInterrupt:
            sys.exit(130)
        except InputError as error:  # for example no space on the disk for failed.json
            _logger.error("sonoseg: %s", error)
            sys.exit(2)


def work(
    settings: ReproductionSettings, jobs: Sequence[Job], material: Material
) -> None:
    """Does the jobs one after the other, except those that another process does. A failed job does not stop the rest.

    A process holds a lock file while it does a job. If the process dies, the lock is free, and the next process
    continues the training.
    """
    from sonoseg.reproduction.work import do_job

    began = time.monotonic()
    done_at_start = count_done(jobs, settings)
    for job in jobs:
        try:
            with lock_of(job, settings):
                if job.result(settings.out) is not None:
                    continue
                done = count_done(jobs, settings)
                seconds = time.monotonic() - began
                log_job(job, done, len(jobs), seconds, done - done_at_start)
                try:
                    do_job(job, settings, material)
                except (
                    Exception
                ) as error:  # any error of one model must not stop the others
                    close_bars()
                    job.fail(settings.out, error)
                    _logger.error("sonoseg: %s failed: %s", job.name, error)
        except Timeout:
            continue  # another process does it


def count_done(jobs: Sequence[Job], settings: ReproductionSettings) -> int:
    """Returns how many of the jobs are done, by any process."""
    return sum(job.result(settings.out) is not None for job in jobs)


def log_job(job: Job, done: int, count: int, seconds: float, finished: int) -> None:
    """Logs which job begins, and how long all may still take if `finished` jobs took `seconds`."""
    left = ""
    if finished:
        seconds_left = seconds / finished * (count - done)
        left = f"; about {duration(seconds_left)} left"
    _logger.info(
        "[%d of %d] %s, split %s, seed %d%s",
        done + 1,
        count,
        job.model,
        job.split,
        job.seed,
        left,
    )


def duration(seconds: float) -> str:
    """Returns seconds in words: 40 s, 12 min, 3 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"
