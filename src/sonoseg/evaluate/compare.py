"""`sonoseg compare`: tests whether models differ on the same images, or whether the difference may be chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts
from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.metrics import FALSE_LESION_FRACTION, image_scores, included
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.evaluate.judge import compare_malignancy, describe_compared
from sonoseg.evaluate.paired_tests import holm, mcnemar_p, signed_rank_p
from sonoseg.files import output_file, write_json
from sonoseg.report.tables import Cell, text_table

COLUMNS = ("file", "group", "tp", "fp", "fn", "tn", "largest_false_part")
"""Columns of cases.csv that a comparison needs."""


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
            InputError: `folder` has no evaluation, or its cases.csv is damaged.
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
            raise InputError(file, "holds no images", "run sonoseg evaluate again")
        wrong = [
            row["file"] or "a row without name" for row in rows if not _is_possible(row)
        ]
        if wrong:
            problem = f"has impossible counts, first {wrong[0]}"
            raise InputError(file, problem, "run sonoseg evaluate again")
        pixels = counts.tp + counts.fp + counts.fn + counts.tn
        return cls(
            name=str(folder),
            files=tuple(row["file"] for row in rows),
            groups=tuple(row["group"] for row in rows),
            counts=counts,
            false_lesion=largest >= FALSE_LESION_FRACTION * pixels,
        )


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


@dataclass(frozen=True)
class Comparison:
    """How `model` differs from `reference` on the same images.

    Attributes:
        model: its folder.
        reference: the folder that it is compared with.
        convention: decides which images are included, see `sonoseg.core.metrics`.
        images: number of images.
        dice: mean of the model.
        reference_dice: mean of the reference.
        difference: mean of model − reference, computed for each image.
        interval: 95 % bootstrap interval of the difference, groups drawn whole.
        p: two-sided, of Wilcoxon's signed-rank test (Pratt's treatment of zeros).
        p_holm: `p` after Holm's correction over all comparisons of one call under this convention.
        false_lesions: number of normal images on which the model has a false lesion.
        reference_false_lesions: the same for the reference.
        p_false_lesions: two-sided, of the exact McNemar test; None if there are no normal images.
    """

    model: str
    reference: str
    convention: str
    images: int
    dice: float
    reference_dice: float
    difference: float
    interval: tuple[float, float]
    p: float
    p_holm: float
    false_lesions: int
    reference_false_lesions: int
    p_false_lesions: float | None


def compare_command(
    reference: Path, models: Sequence[Path], out: Path | None = None
) -> str:
    """Compares evaluations and returns a table for the terminal.

    Args:
        reference: folder of the evaluation that the others are compared with.
        models: folders of the others.
        out: a JSON file to write the table to.

    Raises:
        InputError: a folder has no evaluation, the images differ, or `out` cannot be written.
    """
    if out is not None:
        output_file(out)
    first = Evaluated.read(reference)
    others = [Evaluated.read(folder) for folder in models]
    conventions = ("lesion", "all") if first.counts.has_lesion.any() else ("all",)
    comparisons: list[Comparison] = []
    for convention in conventions:
        comparisons += compare(first, others, convention)
    areas = compare_malignancy(reference, models)
    text = "\n".join([describe(comparisons), *describe_compared(areas)])
    if out is None:
        return text
    rows = [asdict(row) for row in comparisons]
    write_json(out, rows + [{"malignancy": area} for area in areas])
    return f"{text}\n\n{out}"


_HEADER = (
    "model",
    "convention",
    "Dice",
    "difference",
    "95 % interval",
    "p (Holm)",
    "false lesions",
    "p",
)


def describe(comparisons: Sequence[Comparison]) -> str:
    """Returns a table for the terminal. The line above it names the reference."""
    rows: list[list[Cell]] = []
    for row in comparisons:
        low, high = row.interval
        cells: list[Cell] = [
            row.model,
            row.convention,
            row.dice,
            f"{row.difference:+.3f}",
            f"{low:+.3f} to {high:+.3f}",
            row.p_holm,
            f"{row.false_lesions} : {row.reference_false_lesions}",
            row.p_false_lesions,
        ]
        rows.append(cells)
    first = comparisons[0]
    title = f"compared with {first.reference}, {first.images} images under {first.convention}"
    return f"{title}\n\n{text_table(_HEADER, rows)}"


def compare(
    reference: Evaluated, others: Sequence[Evaluated], convention: str
) -> list[Comparison]:
    """Compares each of `others` with `reference`, image by image.

    Args:
        reference: the evaluation that the others are compared with.
        others: evaluations of the same images.
        convention: `paper`, `lesion` or `all`.

    Raises:
        InputError: the images or masks differ, or `convention` includes no image.
    """
    paired = [in_order_of(reference, other) for other in others]
    rows = included(reference.counts, convention)
    if not rows.any():
        problem = f"has no images that count under the convention {convention}"
        raise InputError(reference.name, problem, "choose another convention")
    groups = [
        group for group, chosen in zip(reference.groups, rows, strict=True) if chosen
    ]
    reference_scores = image_scores(reference.counts, convention)["dice"]
    scores = [image_scores(other.counts, convention)["dice"] for other in paired]
    p_values = [signed_rank_p(own - reference_scores) for own in scores]
    corrected = holm(p_values)
    normal = ~reference.counts.has_lesion
    reference_false = reference.false_lesion[normal]
    comparisons = []
    for other, own, p, p_holm in zip(paired, scores, p_values, corrected, strict=True):
        difference = own - reference_scores
        false = other.false_lesion[normal]
        comparison = Comparison(
            model=other.name,
            reference=reference.name,
            convention=convention,
            images=len(reference_scores),
            dice=float(own.mean()),
            reference_dice=float(reference_scores.mean()),
            difference=float(difference.mean()),
            interval=bootstrap_interval(difference, groups),
            p=p,
            p_holm=p_holm,
            false_lesions=int(false.sum()),
            reference_false_lesions=int(reference_false.sum()),
            p_false_lesions=mcnemar_p(false, reference_false),
        )
        comparisons.append(comparison)
    return comparisons


def in_order_of(reference: Evaluated, other: Evaluated) -> Evaluated:
    """Returns `other` with its images in the order of `reference`.

    Raises:
        InputError: the images or their masks differ.
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
    return Evaluated(
        name=other.name,
        files=reference.files,
        groups=reference.groups,
        counts=counts,
        false_lesion=other.false_lesion[order],
    )
