"""What `sonoseg evaluate` writes about each image of one evaluation, and reads back and checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts
from sonoseg.core.metrics import (
    CONVENTIONS,
    FALSE_LESION_FRACTION,
    METRICS,
    image_scores,
)
from sonoseg.core.sizes import MEASURES, Sizes
from sonoseg.data.case import Case
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.evaluate.surface import DISTANCES, Surface
from sonoseg.files import is_there
from sonoseg.inputs import read_json
from sonoseg.report.tables import csv_number, csv_text

COLUMNS = ("file", "group", "tp", "fp", "fn", "tn", "largest_false_part")
"""Columns of cases.csv that a comparison needs."""
AGAIN = "run sonoseg evaluate again"


@dataclass(frozen=True)
class Evaluated:
    """What `sonoseg evaluate` wrote about each image into the `cases.csv` of one folder.

    Attributes:
        name: the folder, as the user wrote it.
        files: N names of images.
        groups: N names; images of one group belong together.
        counts: of N images.
        false_lesion: (N,), a connected false-positive part covers `FALSE_LESION_FRACTION` of the image or more.
    """

    name: str
    files: tuple[str, ...]
    groups: tuple[str, ...]
    counts: Counts
    false_lesion: NDArray[np.bool_]

    @classmethod
    def read(cls, folder: Path) -> Evaluated:
        """Reads one evaluation.

        Raises:
            InputError: `folder` has no evaluation, its cases.csv is damaged, or has other scores than the metrics.json
                beside it.
        """
        file = folder / "cases.csv"
        try:
            rows = read_table(file, COLUMNS)
            counts = Counts(
                tp=_integers(rows, "tp"),
                fp=_integers(rows, "fp"),
                fn=_integers(rows, "fn"),
                tn=_integers(rows, "tn"),
            )
            largest = _integers(rows, "largest_false_part")
        except (InputError, ValueError, OverflowError) as error:
            hint = "give a folder of sonoseg evaluate"
            raise InputError(file, "not the scores of an evaluation", hint) from error
        if not rows:
            raise InputError(file, "holds no images", AGAIN)
        wrong = [
            row["file"] or "a row without name" for row in rows if not _is_possible(row)
        ]
        if wrong:
            problem = f"has impossible counts, first {wrong[0]}"
            raise InputError(file, problem, AGAIN)
        pixels = counts.tp + counts.fp + counts.fn + counts.tn
        evaluated = cls(
            name=str(folder),
            files=tuple(row["file"] for row in rows),
            groups=tuple(row["group"] for row in rows),
            counts=counts,
            false_lesion=largest >= FALSE_LESION_FRACTION * pixels,
        )
        if is_there(folder / "metrics.json"):
            evaluated._check_metrics(folder)
        return evaluated

    def _check_metrics(self, folder: Path) -> None:
        """Refuses other scores than those of metrics.json.

        Both come from the same counts, which are whole numbers: the means differ by the rounding of a sum at most.
        """
        metrics = read_json(folder / "metrics.json")
        normal = ~self.counts.has_lesion
        try:
            fits = metrics["images"] == len(self.files)
            fits &= _is_mean(
                metrics["normals"]["false_lesion"], self.false_lesion[normal]
            )
            for convention in CONVENTIONS:
                means = metrics["conventions"][convention]
                for metric, scores in image_scores(self.counts, convention).items():
                    fits &= _is_mean(means[metric], scores)
        except (LookupError, TypeError) as error:
            problem = "not the metrics of an evaluation"
            raise InputError(folder / "metrics.json", problem, AGAIN) from error
        if not fits:
            problem = "has other scores than the metrics.json beside it"
            raise InputError(folder / "cases.csv", problem, AGAIN)


def _is_mean(stored: Any, values: NDArray[Any]) -> bool:
    """Whether a number of metrics.json is the mean of (N,) values; None if N is 0."""
    if stored is None or not len(values):
        return stored is None and not len(values)
    return math.isclose(stored, values.mean(), abs_tol=1e-9)


def _integers(rows: Sequence[Mapping[str, str]], column: str) -> NDArray[np.int64]:
    return np.array([int(row[column]) for row in rows])


def _is_possible(row: Mapping[str, str]) -> bool:
    """Whether a row of cases.csv names an image and has counts that an image can have."""
    counts = [int(row[name]) for name in ("tp", "fp", "fn", "tn")]
    false_pixels = int(row["fp"])
    largest_part = int(row["largest_false_part"])
    has_pixels = min(counts) >= 0 and sum(counts) > 0
    is_part_possible = 0 <= largest_part <= false_pixels
    has_part_if_needed = (largest_part > 0) == (false_pixels > 0)
    has_names = bool(row["file"] and row["group"])
    return has_pixels and is_part_possible and has_part_if_needed and has_names


def in_order_of(reference: Evaluated, other: Evaluated) -> Evaluated:
    """Returns `other` with its images in the order of `reference`.

    Raises:
        InputError: the images, their masks or their groups differ.
    """
    place = {file: row for row, file in enumerate(other.files)}
    hint = "evaluate both on one data set, split and subset"
    if len(place) != len(other.files) or set(place) != set(reference.files):
        raise InputError(other.name, f"holds other images than {reference.name}", hint)
    order = np.array([place[file] for file in reference.files])
    counts = other.counts[order]
    lesion = counts.tp + counts.fn
    background = counts.fp + counts.tn
    reference_lesion = reference.counts.tp + reference.counts.fn
    reference_background = reference.counts.fp + reference.counts.tn
    has_same_lesions = (lesion == reference_lesion).all()
    has_same_background = (background == reference_background).all()
    if not (has_same_lesions and has_same_background):
        raise InputError(
            other.name, f"was scored against other masks than {reference.name}", hint
        )
    if tuple(other.groups[row] for row in order) != reference.groups:
        raise InputError(
            other.name, f"has other groups of images than {reference.name}", hint
        )
    return Evaluated(
        name=other.name,
        files=reference.files,
        groups=reference.groups,
        counts=counts,
        false_lesion=other.false_lesion[order],
    )


def cases_csv(
    cases: Sequence[Case],
    counts: Counts,
    largest_false_parts: NDArray[np.int64],
    surfaces: Sequence[Surface],
    sizes: Sequence[Sizes],
) -> str:
    """The text of cases.csv, one row per image.

    Args:
        cases, counts, surfaces, sizes: of N images.
        largest_false_parts: (N,) pixels of the largest connected false-positive part.
    """
    scores = image_scores(counts, "paper")
    header = ["file", "label", "group", "tp", "fp", "fn", "tn"]
    header += METRICS
    header.append("largest_false_part")
    header += DISTANCES
    header += [f"{of}{name}" for name in MEASURES for of in ("", "reference_")]
    header.append("size_unit")
    rows: list[list[Any]] = []
    for n, case in enumerate(cases):
        row: list[Any] = [case.name, case.label, case.group]
        row += [counts.tp[n], counts.fp[n], counts.fn[n], counts.tn[n]]
        row += [f"{scores[metric][n]:.6f}" for metric in METRICS]
        row.append(largest_false_parts[n])
        row += [csv_number(getattr(surfaces[n], name)) for name in DISTANCES]
        row += _sizes_cells(sizes[n])
        rows.append(row)
    return csv_text(header, rows)


def _sizes_cells(sizes: Sizes) -> list[str]:
    """What cases.csv says of the sizes of one image; empty where there is nothing to measure."""
    cells = []
    for name in MEASURES:
        for lesion in (sizes.outline, sizes.reference):
            cells.append(csv_number(lesion and getattr(lesion, name)))
    unit = "mm" if sizes.is_metric else "pixels"
    return [*cells, unit if sizes.reference else ""]
