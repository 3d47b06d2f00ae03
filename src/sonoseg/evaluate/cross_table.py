"""The table of `sonoseg cross`: scores by the size of the lesion, and false lesions on normal images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.metrics import image_scores
from sonoseg.deploy.operating_points import MISSED
from sonoseg.evaluate.evaluated import Evaluated
from sonoseg.files import write_text
from sonoseg.report.tables import Cell, csv_number, csv_text, text_table

SIZES = (0.0, 0.01, 0.02, 0.04, 0.08, 0.16, 1.0)
"""Limits of the classes of lesion size, as shares of the image; a class includes its upper limit."""
SMALL = 0.02
"""Largest share of the image of what the printed table calls a small lesion."""


@dataclass(frozen=True)
class Reading:
    """The evaluation of a network on a data set that it has not seen.

    Attributes:
        run: name of its run folder.
        trained_on: names of the data sets of its training.
        read_on: name of the data set.
        evaluated: the counts of each image.
    """

    run: str
    trained_on: list[str]
    read_on: str
    evaluated: Evaluated

    @property
    def shares(self) -> NDArray[np.float64]:
        """(N,) the share of each image that is lesion, 0..1."""
        counts = self.evaluated.counts
        lesion = counts.tp + counts.fn
        shares: NDArray[np.float64] = lesion / (lesion + counts.fp + counts.tn)
        return shares

    def between(
        self, low: float, high: float
    ) -> tuple[int, float | None, float | None]:
        """Of the images whose lesion covers over `low` and at most `high`: number, mean Dice, share missed."""
        shares = self.shares
        chosen = (shares > low) & (shares <= high)
        if not chosen.any():
            return 0, None, None
        dice = image_scores(self.evaluated.counts, "paper")["dice"][chosen]
        return len(dice), float(dice.mean()), float((dice < MISSED).mean())

    def normals(self) -> tuple[int, float | None]:
        """The number of images without lesion, and the share of them that have a false lesion."""
        false = self.evaluated.false_lesion[self.shares == 0]
        return len(false), float(false.mean()) if len(false) else None


HEADER = (
    "run", "read on", "trained on", "lesions", "Dice", "missed",
    "small", "Dice, small", "missed, small", "normals", "false lesion",
)  # fmt: skip


def describe(readings: Sequence[Reading]) -> str:
    """Returns the table for the terminal, grouped by the data set that was read."""
    rows: list[list[Cell]] = []
    for reading in sorted(readings, key=lambda each: each.read_on):
        row: list[Cell] = [reading.run, reading.read_on]
        row.append(", ".join(reading.trained_on))
        row += reading.between(0, 1)
        row += reading.between(0, SMALL)
        row += reading.normals()
        rows.append(row)
    meaning = (
        f"missed: Dice below {MISSED:g}; small: at most {SMALL:.0%} of the image; "
        "false lesion: share of the normal images with one"
    )
    return f"{text_table(HEADER, rows)}\n\n{meaning}"


def write_readings(file: Path, readings: Sequence[Reading]) -> None:
    """Writes one row for each reading and class of lesion size, one for all lesions, and one for the normal images.

    The columns are run, trained_on, read_on, from and to (shares of the image), images, dice, missed, and
    false_lesion, which only normal images have; they are from 0 to 0.
    """
    header = ("run", "trained_on", "read_on", "from", "to", "images")
    classes = [(SIZES[0], SIZES[-1]), *pairwise(SIZES)]
    rows: list[list[str | int | float]] = []
    for reading in readings:
        names = [reading.run, "+".join(reading.trained_on), reading.read_on]
        for low, high in classes:
            images, dice, missed = reading.between(low, high)
            scores = [csv_number(dice), csv_number(missed), ""]
            rows.append([*names, low, high, images, *scores])
        images, false = reading.normals()
        rows.append([*names, 0, 0, images, "", "", csv_number(false)])
    write_text(file, csv_text((*header, "dice", "missed", "false_lesion"), rows))
