"""`sonoseg reproduce`: does what is missing, on every GPU and beside other machines, and writes the report."""

from __future__ import annotations

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
from sonoseg.progress import close_bars
from sonoseg.reproduction.jobs import Job, held, in_order, parse_models, plan

if TYPE_CHECKING:
    from sonoseg.cli import Reproduce
    from sonoseg.reproduction.work import Material


def reproduce_command(options: Reproduce) -> int:
    """`sonoseg reproduce`: checks everything, works, reports; the exit code, 1 if a job failed."""
    import torch

    from sonoseg.reproduction.page import write_report
    from sonoseg.reproduction.work import Material, check, check_options

    options = replace(options, out=options.out.absolute())
    jobs = plan(parse_models(options.models), options.split, options.seeds)
    earlier = held(options.out)
    check_options(options)
    if options.report_only:
        return report_only(options, jobs, earlier)
    material = Material.read(options, [job.split for job in earlier])
    check([*jobs, *earlier], options, material)
    output_folder(options.out / "runs")
    workers = options.workers or max(1, torch.cuda.device_count())
    died = 0
    if workers > 1:
        died = work_beside(options, jobs, material, workers, torch.cuda.device_count())
    else:
        work(options, jobs, material)
    write_report(options, in_order([*jobs, *held(options.out)]), material)
    states = [(job, job.failure(options.out)) for job in jobs if job.result(options.out) is None]
    failed = [f"{job.name}: {reason}" for job, reason in states if reason]
    print(f"{options.out / 'report.html'}: {len(jobs) - len(states)} of {len(jobs)} done", end="")
    print(f", {len(failed)} failed; the same command tries these again" if failed else "")
    print("\n".join(failed), end="\n" if failed else "")
    left = [job for job, reason in states if not reason]
    elsewhere = sum(is_worked_at(job, options) for job in left)
    if elsewhere:
        print(
            f"{elsewhere} are being worked at by other processes; the last to end writes the whole report"
        )
    if died:
        print(
            f"{died} of {workers} workers did not end well, perhaps for lack of memory; try --workers {workers - 1}"
        )
    if len(left) > elsewhere:
        print(
            f"{len(left) - elsewhere} are not done and nobody is at them; the same command goes on"
        )
    return 1 if failed or died or len(left) > elsewhere else 0


def report_only(options: Reproduce, jobs: Sequence[Job], earlier: Sequence[Job]) -> int:
    """Writes the report of the results that `options.out` holds; trains nothing. Returns 0.

    Raises:
        InputError: it holds none, or the data is not there.
    """
    from sonoseg.reproduction.page import write_report
    from sonoseg.reproduction.work import Material

    done = [job for job in earlier if job.result(options.out) is not None]
    if not done:
        hint = "give the --out of an earlier call, or leave --report-only out"
        raise InputError(options.out, "holds no results to report", hint)
    material = Material.read(options, [job.split for job in earlier])
    write_report(options, in_order([*jobs, *earlier]), material)
    print(f"{options.out / 'report.html'}: {len(done)} results there")
    return 0


def is_worked_at(job: Job, options: Reproduce) -> bool:
    """Whether another process holds the job's lock."""
    try:
        with lock_of(job, options):
            return False
    except Timeout:
        return True


def lock_of(job: Job, options: Reproduce) -> FileLock:
    """The lock of whoever does the job; it ends with the process that holds it."""
    return FileLock(options.out / "runs" / f".{job.name}.lock", timeout=0)


def work_beside(
    options: Reproduce, jobs: Sequence[Job], material: Material, workers: int, gpus: int
) -> int:
    """`work` in several processes, each with a GPU of its own if there are any, or else its share of the cores.

    Returns:
        how many of them were killed or ended by an error.
    """
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    processes = [
        context.Process(
            target=_worker,
            args=(options, jobs, material, str(number % gpus) if gpus else "", workers),
        )
        for number in range(workers)
    ]
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
    options: Reproduce, jobs: Sequence[Job], material: Material, gpu: str, workers: int
) -> None:
    if gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpu
    else:  # more threads than cores wait for each other
        import torch

        torch.set_num_threads(max(1, torch.get_num_threads() // workers))
    try:
        work(options, jobs, material)
    except KeyboardInterrupt:
        sys.exit(130)
    except InputError as error:  # such as a disk that has no room for failed.json
        close_bars()
        print(f"sonoseg: {error}", file=sys.stderr)
        sys.exit(2)


def work(options: Reproduce, jobs: Sequence[Job], material: Material) -> None:
    """Does one job after the other that nobody else is at; one that fails is recorded, and the rest are done.

    A job belongs to whoever holds its lock file; a process that dies lets go of it, and what it has trained so far is
    taken up by the next one.
    """
    from sonoseg.reproduction.work import do_job

    began, at_first = time.monotonic(), count_done(jobs, options)
    for job in jobs:
        try:
            with lock_of(job, options):
                if job.result(options.out) is not None:
                    continue
                done = count_done(jobs, options)
                say_where(job, done, len(jobs), time.monotonic() - began, done - at_first)
                try:
                    do_job(job, options, material)
                except Exception as error:  # whatever it is, the other models are not at fault
                    close_bars()
                    job.fail(options.out, error)
                    print(f"sonoseg: {job.name} failed: {error}", file=sys.stderr)
        except Timeout:
            continue  # another process is at it


def count_done(jobs: Sequence[Job], options: Reproduce) -> int:
    """How many jobs are done, by whomever."""
    return sum(job.result(options.out) is not None for job in jobs)


def say_where(job: Job, done: int, count: int, seconds: float, finished: int) -> None:
    """One line: which job this is, and how much longer all may take if they go on as `finished` went in `seconds`."""
    left = f"; about {duration(seconds / finished * (count - done))} left" if finished else ""
    print(
        f"[{done + 1} of {count}] {job.model}, split {job.split}, seed {job.seed}{left}",
        file=sys.stderr,
        flush=True,
    )


def duration(seconds: float) -> str:
    """Seconds in words: 40 s, 12 min, 3 h 5 min."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
