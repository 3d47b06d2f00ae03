"""`sonoseg compare`: tests whether models differ on the same images, or whether the difference may be chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sonoseg.core.intervals import Interval, bootstrap_interval
from sonoseg.core.metrics import image_scores, included
from sonoseg.errors import InputError
from sonoseg.evaluate.evaluated import Evaluated, in_order_of
from sonoseg.evaluate.judge import compare_malignancy, describe_compared
from sonoseg.evaluate.paired_tests import holm, mcnemar_p, signed_rank_p
from sonoseg.files import output_file, write_json
from sonoseg.report.tables import Cell, interval_text, text_table


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
        interval: 95 % bootstrap interval of the difference, see `bootstrap_interval`.
        p: two-sided, of the signed-rank test by group, see `signed_rank_p`.
        p_holm: `p` after Holm's correction over all comparisons of one call under this convention.
        false_lesions: number of normal images on which the model has a false lesion.
        reference_false_lesions: the same for the reference.
        p_false_lesions: two-sided, of McNemar's test by group; None if there are no normal images.
    """

    model: str
    reference: str
    convention: str
    images: int
    dice: float
    reference_dice: float
    difference: float
    interval: Interval | None
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
        InputError: a folder has no evaluation or is given twice, there are no `models`, the images, masks, labels or
            groups differ, or `out` cannot be written.
    """
    if not models:
        hint = "name two evaluations or more"
        raise InputError(reference, "there is nothing to compare it with", hint)
    if out is not None:
        output_file(out)
    first = Evaluated.read(reference)
    others = [Evaluated.read(folder) for folder in models]
    given = {reference.resolve()}
    for folder in models:
        if folder.resolve() in given:
            raise InputError(folder, "is given twice", "name each evaluation once")
        given.add(folder.resolve())
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
        cells: list[Cell] = [
            row.model,
            row.convention,
            row.dice,
            f"{row.difference:+.3f}",
            interval_text(row.interval, "+.3f"),
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
        InputError: the images, masks or groups differ, or `convention` includes no image.
    """
    paired = [in_order_of(reference, other) for other in others]
    rows = included(reference.counts, convention)
    if not rows.any():
        problem = f"has no images that count under the convention {convention}"
        raise InputError(reference.name, problem, "choose another convention")
    all_groups = np.array(reference.groups)
    groups = list(all_groups[rows])
    reference_scores = image_scores(reference.counts, convention)["dice"]
    scores = [image_scores(other.counts, convention)["dice"] for other in paired]
    p_values = [signed_rank_p(own - reference_scores, groups) for own in scores]
    corrected = holm(p_values)
    normal = ~reference.counts.has_lesion
    normal_groups = list(all_groups[normal])
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
            p_false_lesions=mcnemar_p(false, reference_false, normal_groups),
        )
        comparisons.append(comparison)
    return comparisons
