"""What a search writes: sweep.csv, sweep.md, sweep.png, winner.txt, and a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from sonoseg.files import atomic_path, write_text
from sonoseg.report.tables import (
    Cell,
    csv_text,
    markdown_table,
    markdown_text,
    text_table,
)
from sonoseg.report.training_figures import grid_figure
from sonoseg.train.grid import Grid, folder_name
from sonoseg.train.search import Result

COLUMNS = ("validation_dice", "validation_loss", "epoch", "seconds", "state", "reason")
"""Of sweep.csv, besides the axes: an axis may be called loss."""


def describe(out: Path, results: Sequence[Result], best: Result, command: str) -> str:
    """Table, winner and where the files are, for the terminal."""
    run = out / "trials" / folder_name(best.values)
    header, rows = table(results)
    return (
        f"{text_table(header, rows)}\n\nbest on validation, trained in {run}:\n"
        f"{command}\n\n{out}: sweep.csv, sweep.md, sweep.png, winner.txt, trials/"
    )


def table(results: Sequence[Result]) -> tuple[list[str], list[list[Cell]]]:
    """Header and rows, the best first."""
    header = [
        *results[0].values,
        "Dice",
        "validation loss",
        "epoch",
        "minutes",
        "state",
    ]
    rows: list[list[Cell]] = []
    for result in sorted(results, key=dice_or_lowest, reverse=True):
        row: list[Cell] = [str(value) for value in result.values.values()]
        minutes = "–" if result.seconds is None else f"{result.seconds / 60:.1f}"
        state = f"{result.state}: {result.reason}" if result.reason else result.state
        row += [result.dice, result.loss, result.epoch, minutes, state]
        rows.append(row)
    return header, rows


def dice_or_lowest(result: Result) -> float:
    """The Dice, or less than any where there is none."""
    return -math.inf if result.dice is None else result.dice


def write_results(
    out: Path, title: str, grid: Grid, results: Sequence[Result], command: str
) -> None:
    """Writes sweep.csv, sweep.md, sweep.png and, as soon as there is a winner, winner.txt.

    Args:
        out: the folder of the search.
        title: of sweep.md.
        grid: the axes.
        results: one per combination.
        command: that trains the winner; empty if there is none yet.
    """
    rows: list[list[Cell]] = []
    for result in results:
        row: list[Cell] = list(result.values.values())
        row += [result.dice, result.loss, result.epoch]
        row += [result.seconds, result.state, result.reason]
        rows.append(row)
    write_text(out / "sweep.csv", csv_text([*grid, *COLUMNS], rows))

    lines = [f"# {markdown_text(title)}", "", markdown_table(*table(results))]
    if command:
        lines += ["", "The best on validation:", "", f"```console\n{command}\n```"]
    write_text(out / "sweep.md", "\n".join(lines) + "\n")

    axes: dict[str, list[str]] = {}
    for axis, values in grid.items():
        axes[axis] = [str(value) for value in values]
    cells: dict[tuple[str, ...], float | str] = {}
    for result in results:
        place = tuple(map(str, result.values.values()))
        cells[place] = result.state if result.dice is None else result.dice
    with atomic_path(out / "sweep.png") as temporary:
        grid_figure(axes, cells, temporary)
    if command:
        write_text(out / "winner.txt", command + "\n")
