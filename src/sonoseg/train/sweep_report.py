"""What a search writes: sweep.csv, sweep.md, sweep.png, winner.txt, and a table for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from sonoseg.train.grid import Value, folder_name
from sonoseg.train.trial import Scores

COLUMNS = ("validation_dice", "validation_loss", "epoch", "seconds", "state", "reason")
"""Of sweep.csv, besides the axes: an axis may be called loss."""


@dataclass(frozen=True)
class Result:
    """What is known of one combination.

    Attributes:
        values: one value per axis.
        scores: of the finished training.
        reason: why it failed, or empty.
    """

    values: Mapping[str, Value]
    scores: Scores | None = None
    reason: str = ""

    @property
    def state(self) -> str:
        """complete, failed or waiting."""
        if self.scores is not None:
            return "complete"
        return "failed" if self.reason else "waiting"

    @property
    def dice(self) -> float | None:
        """The validation Dice; None without scores."""
        return None if self.scores is None else self.scores.dice


def winner(results: Sequence[Result]) -> Result | None:
    """The one with the highest Dice; None if none is complete."""
    complete = [result for result in results if result.dice is not None]
    return max(complete, key=dice_or_lowest, default=None)


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
        state = f"{result.state}: {result.reason}" if result.reason else result.state
        dice, loss, epoch, seconds = numbers(result)
        minutes = "–" if seconds is None else f"{float(seconds) / 60:.1f}"
        row += [dice, loss, epoch, minutes, state]
        rows.append(row)
    return header, rows


def numbers(result: Result) -> list[Cell]:
    """Dice, loss, epoch and seconds; each None if the training is not finished."""
    scores = result.scores
    if scores is None:
        return [None] * 4
    return [scores.dice, scores.loss, scores.epoch, scores.seconds]


def dice_or_lowest(result: Result) -> float:
    """The Dice, or less than any where there is none."""
    return -math.inf if result.dice is None else result.dice


def write_results(
    out: Path, title: str, results: Sequence[Result], command: str
) -> None:
    """Writes sweep.csv, sweep.md, sweep.png and, as soon as there is a winner, winner.txt.

    Args:
        out: the folder of the search.
        title: of sweep.md.
        results: one per combination.
        command: that trains the winner; empty if there is none yet.
    """
    rows: list[list[Cell]] = []
    for result in results:
        row: list[Cell] = list(result.values.values())
        row += [*numbers(result), result.state, result.reason]
        rows.append(row)
    write_text(out / "sweep.csv", csv_text([*results[0].values, *COLUMNS], rows))

    lines = [f"# {markdown_text(title)}", "", markdown_table(*table(results))]
    if command:
        lines += ["", "The best on validation:", "", f"```console\n{command}\n```"]
    write_text(out / "sweep.md", "\n".join(lines) + "\n")

    axes: dict[str, list[str]] = {}
    cells: dict[tuple[str, ...], float | str] = {}
    for result in results:
        place = tuple(map(str, result.values.values()))
        for axis, value in zip(result.values, place, strict=True):
            values = axes.setdefault(axis, [])
            if value not in values:
                values.append(value)
        cells[place] = result.state if result.dice is None else result.dice
    with atomic_path(out / "sweep.png") as temporary:
        grid_figure(axes, cells, temporary)
    if command:
        write_text(out / "winner.txt", command + "\n")
