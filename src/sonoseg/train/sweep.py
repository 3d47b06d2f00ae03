"""`sonoseg sweep`: trains with every combination of some settings, and says which was best on validation."""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonoseg.data.case import Case
from sonoseg.errors import InputError, MachineError, is_out_of_memory
from sonoseg.files import atomic_path, output_folder, write_text
from sonoseg.progress import close_bars
from sonoseg.report.tables import Cell, csv_text, markdown_table, markdown_text, text_table
from sonoseg.report.training_figures import grid_figure
from sonoseg.train.fit import train
from sonoseg.train.grid import Grid, Value, folder_name, parse_grid
from sonoseg.train.processes import find_processes
from sonoseg.train.run_folder import RunConfig, best_epoch
from sonoseg.train.search import Result, Search
from sonoseg.train.settings import configure
from sonoseg.train.storage import in_reach

if TYPE_CHECKING:
    from sonoseg.cli import Sweep

POLL = 5.0
"""Seconds between two looks at what the other processes are at, when nothing else is left to do."""


def sweep_command(options: Sweep) -> int:
    """`sonoseg sweep`: checks everything, trains until every combination is done, prints table and winner.

    Returns:
        1 if a combination failed, or else 0.
    """
    if find_processes().count > 1:
        raise InputError(
            "torchrun or srun",
            "starts the processes of one training",
            "start sonoseg sweep several times",
        )
    config, training, validation = configure(options)
    grid = parse_grid(options.grid, config.recipe)
    name = f"{options.model}-{Path(options.split).stem}"
    out = output_folder(options.out or Path("runs") / f"{name}-sweep")
    storage = options.storage or f"sqlite:///{out / 'sweep.db'}"
    with in_reach(storage):
        search = Search(storage, name, settings(config, grid), grid)
        while (number := next_trial(search)) is not None:
            recipe = replace(config.recipe, **search.values(number))  # type: ignore[arg-type]
            run = out / "trials" / folder_name(search.values(number))
            try_out(
                search, number, replace(config, recipe=recipe), training, validation, run, options
            )
            write_results(out, options, grid, search.results())
        results = search.results()
    write_results(out, options, grid, results)
    print(describe(out, options, results))
    return int(any(result.state == "failed" for result in results))


def settings(config: RunConfig, grid: Grid) -> dict[str, Any]:
    """All that decides the results, but for the axes."""
    values = config.to_json()
    recipe = {key: value for key, value in values.pop("recipe").items() if key not in grid}
    return values | recipe


def next_trial(search: Search) -> int | None:
    """The trial that this process is to do next; None when all are done, which other processes may have to do."""
    said = False
    while True:
        number = search.claim()
        results = search.results()
        if number is not None:
            chosen = ", ".join(f"{axis} {value}" for axis, value in search.values(number).items())
            print(f"{progress(results)}; now {chosen}", file=sys.stderr)
            return number
        others = sum(result.state == "running" for result in results)
        if not others:
            return None
        if not said:
            print(
                f"{progress(results)}; waiting for {others} that other processes are at",
                file=sys.stderr,
            )
        said = True
        time.sleep(POLL)


def progress(results: Sequence[Result]) -> str:
    """How many are done, and how long the rest will take all processes that are at it."""
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
    run: Path,
    options: Sweep,
) -> None:
    """Trains trial `number` in the folder `run`, where a killed one goes on, and records what comes of it."""
    try:
        with search.alive(number):
            history = train(
                config, training, validation, run, options.encoder_weights, options.start_from
            )
        best = best_epoch(history, config.recipe.monitor)
        if not math.isfinite(best["validation_loss"]):
            raise InputError(
                run.name, "the loss was never a finite number", "try a lower learning rate"
            )
    except KeyboardInterrupt:
        search.release(number)
        raise
    except Exception as error:
        close_bars()
        memory = is_out_of_memory(error)
        if not memory and not isinstance(
            error, InputError
        ):  # a bug of ours: the others need not meet it too
            search.fail(number, f"{type(error).__name__}: {error}")
            raise
        reason = "not enough memory" if memory else " ".join(str(error).split())
        search.fail(number, reason, again=memory or isinstance(error, MachineError))
        print(f"failed: {reason}", file=sys.stderr)
        return
    dice, loss = (round(best[f"validation_{name}"], 6) for name in ("dice", "loss"))
    search.complete(
        number, dice, loss, int(best["epoch"]), round(sum(row["seconds"] for row in history), 1)
    )


def winner(results: Sequence[Result]) -> Result | None:
    """The one with the highest Dice; None if none is complete."""
    complete = [result for result in results if result.dice is not None]
    return max(complete, key=lambda result: result.dice or 0, default=None)


def winner_command(options: Sweep, values: Mapping[str, Value]) -> str:
    """The command that trains with `values` and, for the rest, as the search did."""
    words = ["sonoseg", "train", options.model, "--data", str(options.data)]
    defaults = {
        field.name: field.default for field in fields(options) if field.default is not MISSING
    }
    asked = {
        name: getattr(options, name)
        for name in defaults
        if name not in ("grid", "out", "storage", *values)
    }
    changed = {name: value for name, value in asked.items() if value != defaults[name]}
    for name, value in (changed | dict(values)).items():
        words += [
            f"--{name.replace('_', '-')}",
            *map(str, value if isinstance(value, tuple) else (value,)),
        ]
    return shlex.join(words)


def describe(out: Path, options: Sweep, results: Sequence[Result]) -> str:
    """Table, winner and where the files are, for the terminal.

    Raises:
        InputError: every combination failed.
    """
    best = winner(results)
    if best is None:
        reason = next((result.reason for result in results if result.reason), "no reason is known")
        raise InputError(
            out, f"every combination failed, the first with: {reason}", "see sweep.md there"
        )
    run = out / "trials" / folder_name(best.values)
    return (
        f"{text_table(*table(results))}\n\nbest on validation, trained in {run}:\n"
        f"{winner_command(options, best.values)}\n\n{out}: sweep.csv, sweep.md, sweep.png, winner.txt, trials/"
    )


def table(results: Sequence[Result]) -> tuple[list[str], list[list[Cell]]]:
    """Header and rows, the best first."""
    header = [*results[0].values, "Dice", "validation loss", "epoch", "minutes", "state"]
    rows: list[list[Cell]] = []
    for result in sorted(
        results, key=lambda result: -math.inf if result.dice is None else result.dice, reverse=True
    ):
        minutes = None if result.seconds is None else f"{result.seconds / 60:.1f}"
        state = f"{result.state}: {result.reason}" if result.reason else result.state
        rows.append(
            [
                *map(str, result.values.values()),
                result.dice,
                result.loss,
                result.epoch,
                minutes or "–",
                state,
            ]
        )
    return header, rows


def write_results(out: Path, options: Sweep, grid: Grid, results: Sequence[Result]) -> None:
    """Writes sweep.csv, sweep.md, sweep.png and, as soon as there is one, winner.txt."""
    known = {"dice": "validation_dice", "loss": "validation_loss"}  # an axis may be called loss
    known |= {name: name for name in ("epoch", "seconds", "state", "reason")}
    rows = [
        [*result.values.values(), *(asdict(result)[key] for key in known)] for result in results
    ]
    write_text(out / "sweep.csv", csv_text([*grid, *known.values()], rows))
    best = winner(results)
    command = winner_command(options, best.values) if best else ""
    title = markdown_text(f"Search of {options.model}, split {Path(options.split).name}")
    lines = [f"# {title}", "", markdown_table(*table(results))]
    lines += ["", "The best on validation:", "", f"```console\n{command}\n```"] if best else []
    write_text(out / "sweep.md", "\n".join(lines) + "\n")
    cells = {
        tuple(map(str, result.values.values())): result.state
        if result.dice is None
        else result.dice
        for result in results
    }
    with atomic_path(out / "sweep.png") as temporary:
        grid_figure(
            {axis: list(map(str, values)) for axis, values in grid.items()}, cells, temporary
        )
    if best:
        write_text(out / "winner.txt", command + "\n")
