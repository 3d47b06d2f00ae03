"""`sonoseg reproduce`: does the jobs that are not done, and writes the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sonoseg.cluster import Workers
from sonoseg.errors import InputError
from sonoseg.jobs import run_jobs
from sonoseg.lock import held
from sonoseg.reproduction.jobs import Job, in_order, jobs_in, parse_models, plan
from sonoseg.reproduction.settings import ReproductionSettings

if TYPE_CHECKING:
    from sonoseg.reproduction.material import Material


@dataclass(frozen=True)
class Task:
    """A job with what it needs, to be sent to a worker."""

    job: Job
    settings: ReproductionSettings
    material: Material

    @property
    def name(self) -> str:
        """That of the run folder."""
        return self.job.name

    def run(self) -> None:
        """Does the job, or the rest of it."""
        from sonoseg.reproduction import work

        work.do_job(self.job, self.settings, self.material)


def reproduce_command(settings: ReproductionSettings) -> tuple[str, int]:
    """Checks everything, does the jobs, and writes the report.

    Returns:
        Text for the terminal, and the exit code: 0, or 1 if a job failed.

    Raises:
        InputError: settings or data are wrong, or the folder has results that are damaged or of other settings.
    """
    from sonoseg.reproduction.material import Material
    from sonoseg.reproduction.model_results import check_results, read_results
    from sonoseg.reproduction.work import check
    from sonoseg.reproduction.write_report import write_report
    from sonoseg.train.device import visible_gpus

    jobs = plan(parse_models(settings.models), settings.splits, settings.seeds)
    earlier = jobs_in(settings.out)
    settings.check()
    check_results(read_results(settings.out, earlier))
    if settings.report_only:
        return report_only(settings, jobs, earlier), 0
    workers = Workers(settings.workers, settings.cluster, visible_gpus())
    workers.check()
    material = Material.read(settings, [job.split for job in earlier])
    check(jobs + earlier, settings, material)
    with held(settings.out):
        work_on(jobs, settings, material, workers)
        write_report(settings, in_order(jobs + jobs_in(settings.out)), material)
    return describe_end(settings, jobs)


def work_on(
    jobs: Sequence[Job],
    settings: ReproductionSettings,
    material: Material,
    workers: Workers,
) -> None:
    """Does the jobs that have no result, and records those that failed. A failed job does not stop the rest."""
    tasks = []
    for job in jobs:
        if job.result(settings.out) is None:
            tasks.append(Task(job, settings, material))
    for task, failure in run_jobs(tasks, workers, len(jobs) - len(tasks)):
        if failure is not None:
            task.job.fail(settings.out, failure)


def report_only(
    settings: ReproductionSettings, jobs: list[Job], earlier: list[Job]
) -> str:
    """Writes the report of the results in `settings.out`. Trains nothing.

    It is about the splits that have results: the data set may not have the others, such as the default `paper`.

    Raises:
        InputError: there are no results, or the data does not exist or is not that of the results.
    """
    from sonoseg.reproduction.material import Material
    from sonoseg.reproduction.work import check_data
    from sonoseg.reproduction.write_report import write_report

    done = [job for job in earlier if job.result(settings.out) is not None]
    if not done:
        hint = "give the --out of an earlier call, or leave --report-only out"
        raise InputError(settings.out, "holds no results to report", hint)
    there = dict.fromkeys(job.split for job in earlier)
    asked = tuple(split for split in settings.splits if split in there)
    material = Material.read(replace(settings, splits=asked), there)
    check_data(done, settings, material)
    asked_jobs = [job for job in jobs if job.split in there]
    write_report(settings, in_order(asked_jobs + earlier), material)
    return f"{settings.out / 'report.html'}: {len(done)} results there"


def describe_end(
    settings: ReproductionSettings, jobs: Sequence[Job]
) -> tuple[str, int]:
    """Returns what was done and what failed, as text for the terminal, and the exit code."""
    failed = []
    for job in jobs:
        if job.result(settings.out) is None:
            failed.append(f"{job.name}: {job.failure(settings.out)}")
    done = f"{len(jobs) - len(failed)} of {len(jobs)} done"
    line = f"{settings.out / 'report.html'}: {done}"
    if failed:
        line += f", {len(failed)} failed; the same command tries these again"
    return "\n".join([line, *failed]), 1 if failed else 0
