"""`sonoseg sweep`: trains with every combination of some settings, and says which was best on validation."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any

from sonoseg.cluster import Workers
from sonoseg.errors import InputError
from sonoseg.jobs import run_jobs
from sonoseg.lock import held
from sonoseg.train.configure import configure
from sonoseg.train.device import visible_gpus
from sonoseg.train.grid import Value, combinations, parse_grid
from sonoseg.train.processes import find_processes
from sonoseg.train.run_folder import check_claim
from sonoseg.train.settings import TrainSettings
from sonoseg.train.sweep_report import Result, describe, winner, write_results
from sonoseg.train.trial import Trial


def sweep_command(
    settings: TrainSettings,
    axes: Sequence[str] = (),
    out: Path | None = None,
    workers: int = 0,
    cluster: str = "",
) -> tuple[str, int]:
    """Checks everything, then trains until every combination is done.

    Args:
        settings: of all trainings, but for the axes.
        axes: AXIS=VALUE,VALUE; none: the paper's grid.
        out: folder for table, picture and runs; by default runs/MODEL-SPLIT-sweep.
        workers, cluster: see `Workers`.

    Returns:
        table and winner to print, and the exit code: 1 if a combination failed, or else 0.

    Raises:
        InputError: a setting or a folder is wrong, or every combination failed.
    """
    if find_processes().count > 1:
        problem = "is only for a single training, not for a sweep"
        raise InputError("torchrun or srun", problem, "give --workers or --cluster")
    crew = Workers(workers, cluster, visible_gpus())
    crew.check()
    if out is None:
        out = Path("runs") / f"{settings.model}-{Path(settings.split).stem}-sweep"
    trials = list(trials_of(settings, axes, out))
    for trial in trials:
        check_claim(trial.folder, trial.config)
    with held(out):
        results = train_all(trials, crew, out, settings)
    best = winner(results)
    if best is None:
        problem = f"every combination failed, the first with: {results[0].reason}"
        raise InputError(out, problem, "see sweep.md there")
    text = describe(out, results, best, winner_command(settings, best.values))
    has_failed = any(result.state == "failed" for result in results)
    return text, int(has_failed)


def trials_of(
    settings: TrainSettings, axes: Sequence[str], out: Path
) -> Iterator[Trial]:
    """Yields the training of every combination.

    Raises:
        InputError: a setting, an axis or the data is wrong.
    """
    config, training, validation = configure(settings)
    for values in combinations(parse_grid(axes, config.recipe)):
        recipe = replace(config.recipe, **values)  # type: ignore[arg-type]
        own = replace(config, recipe=recipe)
        trial = Trial(values, out, own, training, validation, settings)
        yield replace(trial, folder=out / "trials" / trial.name)


def train_all(
    trials: Sequence[Trial], workers: Workers, out: Path, settings: TrainSettings
) -> list[Result]:
    """Trains what is not trained yet. Writes table and picture again after each training.

    Returns:
        one result per combination, in the order of the grid.
    """
    failures: dict[str, str] = {}
    title = f"Search of {settings.model}, split {Path(settings.split).name}"

    def report() -> list[Result]:
        results = []
        for trial in trials:
            reason = failures.get(trial.name, "")
            results.append(Result(trial.values, trial.scores(), reason))
        best = winner(results)
        command = winner_command(settings, best.values) if best else ""
        write_results(out, title, results, command)
        return results

    left = [trial for trial in trials if trial.scores() is None]
    for trial, failure in run_jobs(left, workers, len(trials) - len(left)):
        if failure is not None:
            failures[trial.name] = failure.reason
        report()
    return report()


def winner_command(settings: TrainSettings, values: Mapping[str, Value]) -> str:
    """The command that trains with `values` and, for the rest, as the search did."""
    words = ["sonoseg", "train", settings.model, "--data", str(settings.data)]
    options: dict[str, Any] = {}
    for field in fields(settings):
        value = getattr(settings, field.name)
        # What has no default is in the command already; the changes have a default factory, and follow.
        if field.default is not MISSING and value != field.default:
            options[field.name] = value
    options |= settings.recipe.given()
    options |= settings.network.given()
    options |= values
    for name, value in options.items():
        words.append(f"--{name.replace('_', '-')}")
        several = value if isinstance(value, tuple) else (value,)
        words.extend(map(str, several))
    return shlex.join(words)
