"""`sonoseg sweep`: trains with every combination of some settings, and says which was best on validation."""

from __future__ import annotations

import logging
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sonoseg.data.case import Case
from sonoseg.errors import InputError, MachineError, is_out_of_memory
from sonoseg.files import output_folder
from sonoseg.train.configure import configure
from sonoseg.train.grid import Grid, Value, folder_name, parse_grid
from sonoseg.train.loop import train
from sonoseg.train.processes import find_processes
from sonoseg.train.run_folder import RunConfig, best_epoch
from sonoseg.train.search import Result, Search
from sonoseg.train.settings import TrainSettings
from sonoseg.train.storage import in_reach
from sonoseg.train.sweep_report import describe, write_results

POLL = 5.0
"""Seconds between two looks at what the other processes do, when nothing else is left to do."""
logger = logging.getLogger(__name__)


def sweep_command(
    settings: TrainSettings,
    axes: Sequence[str] = (),
    out: Path | None = None,
    storage: str | None = None,
) -> tuple[str, int]:
    """Checks everything, then trains until every combination is done.

    Args:
        settings: of all trainings, but for the axes.
        axes: AXIS=VALUE,VALUE; none: the paper's grid.
        out: folder for table, picture and runs; by default runs/MODEL-SPLIT-sweep.
        storage: where the processes meet; by default a database in `out`.

    Returns:
        table and winner to print, and the exit code: 1 if a combination failed, or else 0.

    Raises:
        InputError: a setting or a folder is wrong, the storage cannot be used, or every combination failed.
    """
    if find_processes().count > 1:
        problem = "is only for a single training, not for a sweep"
        raise InputError(
            "torchrun or srun", problem, "start sonoseg sweep several times"
        )
    config, training, validation = configure(settings)
    grid = parse_grid(axes, config.recipe)
    name = f"{settings.model}-{Path(settings.split).stem}"
    out = output_folder(out or Path("runs") / f"{name}-sweep")
    if storage is None:
        storage = f"sqlite:///{out / 'sweep.db'}"
    with in_reach(storage):
        search = Search(storage, name, fixed_settings(config, grid), grid)
        while (number := next_trial(search)) is not None:
            try_out(search, number, config, training, validation, out, settings)
            report_results(out, settings, grid, search.results())
        results = search.results()
    report_results(out, settings, grid, results)
    best = winner(results)
    if best is None:
        reasons = [result.reason for result in results if result.reason]
        reason = reasons[0] if reasons else "no reason is known"
        problem = f"every combination failed, the first with: {reason}"
        raise InputError(out, problem, "see sweep.md there")
    text = describe(out, results, best, winner_command(settings, best.values))
    has_failed = any(result.state == "failed" for result in results)
    return text, int(has_failed)


def fixed_settings(config: RunConfig, grid: Grid) -> dict[str, Any]:
    """All that decides the results, but for the axes."""
    values = config.to_json()
    for name, value in values.pop("recipe").items():
        if name not in grid:
            values[name] = value
    return values


def next_trial(search: Search) -> int | None:
    """The next trial of this process; None when all are done. Waits for trials that other processes are doing."""
    has_told = False
    while True:
        number = search.claim()
        results = search.results()
        if number is not None:
            chosen = ", ".join(
                f"{axis} {value}" for axis, value in search.values(number).items()
            )
            logger.info("%s; now %s", progress(results), chosen)
            return number
        others = sum(result.state == "running" for result in results)
        if not others:
            return None
        if not has_told:
            logger.info(
                "%s; waiting for %d trainings of other processes",
                progress(results),
                others,
            )
        has_told = True
        time.sleep(POLL)


def progress(results: Sequence[Result]) -> str:
    """How many are done, and how long all processes together need for the rest."""
    done = [result for result in results if result.state in ("complete", "failed")]
    times = [result.seconds for result in done if result.seconds is not None]
    text = f"{len(done)} of {len(results)} combinations done"
    if not times:
        return text
    workers = max(1, sum(result.state == "running" for result in results))
    seconds = (len(results) - len(done)) * sum(times) / len(times) / workers
    return f"{text}, about {timedelta(seconds=round(seconds))} left"


def try_out(
    search: Search,
    number: int,
    config: RunConfig,
    training: Sequence[Case],
    validation: Sequence[Case],
    out: Path,
    settings: TrainSettings,
) -> None:
    """Trains trial `number` in its folder, or resumes it there, and records the result."""
    values = search.values(number)
    run = out / "trials" / folder_name(values)
    recipe = replace(config.recipe, **values)  # type: ignore[arg-type]
    try:
        with search.alive(number):
            history = train(
                replace(config, recipe=recipe),
                training,
                validation,
                run,
                encoder_weights=settings.encoder_weights,
                start_from=settings.start_from,
                teachers=settings.teachers,
            )
        best = best_epoch(history, recipe.monitor)
        if not math.isfinite(best["validation_loss"]):
            problem = "the loss was never a finite number"
            raise InputError(run.name, problem, "try a lower learning rate")
    except KeyboardInterrupt:
        search.release(number)
        raise
    except Exception as error:
        is_memory = is_out_of_memory(error)
        # Any other error is a bug of ours. The other processes need not meet it too.
        if not is_memory and not isinstance(error, InputError):
            search.fail(number, f"{type(error).__name__}: {error}")
            raise
        reason = "not enough memory" if is_memory else " ".join(str(error).split())
        search.fail(number, reason, again=is_memory or isinstance(error, MachineError))
        logger.warning("failed: %s", reason)
        return
    seconds = sum(row["seconds"] for row in history)
    dice, loss = round(best["validation_dice"], 6), round(best["validation_loss"], 6)
    search.complete(number, dice, loss, int(best["epoch"]), round(seconds, 1))


def report_results(
    out: Path, settings: TrainSettings, grid: Grid, results: Sequence[Result]
) -> None:
    """Writes what is known so far."""
    best = winner(results)
    command = winner_command(settings, best.values) if best else ""
    title = f"Search of {settings.model}, split {Path(settings.split).name}"
    write_results(out, title, grid, results, command)


def winner(results: Sequence[Result]) -> Result | None:
    """The one with the highest Dice; None if none is complete."""
    complete = [result for result in results if result.dice is not None]
    return max(complete, key=lambda result: result.dice or 0, default=None)


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
