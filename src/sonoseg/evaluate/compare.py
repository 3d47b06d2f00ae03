"""`sonoseg compare`: is one model better than another on the same images, or was it luck?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sonoseg.core.counts import Counts
from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.metrics import FALSE_LESION_FRACTION, image_scores, included
from sonoseg.data.scan import read_table
from sonoseg.errors import InputError
from sonoseg.files import output_file, write_json
from sonoseg.report.tables import Cell, text_table

if TYPE_CHECKING:
    from sonoseg.cli import Compare


@dataclass(frozen=True)
class Evaluated:
    """What `sonoseg evaluate` wrote of each image into the `cases.csv` of one folder.

    Attributes:
        name: the folder, as it was given.
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
            InputError: there is none in `folder`, or it is not whole.
        """
        file = folder / "cases.csv"
        try:
            rows = read_table(file, ("file", "group", "tp", "fp", "fn", "tn", "largest_false_part"))
            columns = {
                key: np.array([int(row[key]) for row in rows]) for key in ("tp", "fp", "fn", "tn")
            }
            largest = np.array([int(row["largest_false_part"]) for row in rows])
            files, groups = (tuple(row[key] for row in rows) for key in ("file", "group"))
        except (InputError, ValueError, OverflowError) as error:
            raise InputError(
                file, "not the scores of an evaluation", "give a folder of sonoseg evaluate"
            ) from error
        if not rows:
            raise InputError(file, "holds no images", "run sonoseg evaluate again")
        wrong = [row["file"] or "a row without name" for row in rows if not _is_possible(row)]
        if wrong:
            fault = f"holds counts that no image has, first {wrong[0]}"
            raise InputError(file, fault, "run sonoseg evaluate again")
        counts = Counts(**columns)
        pixels = counts.tp + counts.fp + counts.fn + counts.tn
        return cls(str(folder), files, groups, counts, largest >= FALSE_LESION_FRACTION * pixels)


def _is_possible(row: Mapping[str, str]) -> bool:
    """Whether a row of cases.csv names an image and has counts that an image can have."""
    tp, fp, fn, tn, part = (int(row[key]) for key in ("tp", "fp", "fn", "tn", "largest_false_part"))
    in_range = min(tp, fp, fn, tn) >= 0 and 0 <= part <= fp and tp + fp + fn + tn > 0
    return in_range and (part > 0) == (fp > 0) and bool(row["file"] and row["group"])


@dataclass(frozen=True)
class Comparison:
    """How `model` differs from `reference` on the same images.

    Attributes:
        model: its folder.
        reference: the folder it is compared with.
        convention: over which images, see `sonoseg.core.metrics`.
        images: how many.
        dice: mean of the model.
        reference_dice: mean of the reference.
        difference: mean of model − reference, image by image.
        interval: its 95 % bootstrap interval, groups drawn whole.
        p: two-sided, of Wilcoxon's signed-rank test (Pratt's treatment of zeros).
        p_holm: `p` after Holm's correction over all comparisons of one call under this convention.
        false_lesions: the model's normals with a false lesion.
        reference_false_lesions: the reference's.
        p_false_lesions: two-sided, of the exact McNemar test; None without normals.
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


def compare_command(options: Compare) -> None:
    """`sonoseg compare`: reads the evaluations, prints a table, and writes it as JSON if asked to."""
    if options.out is not None:
        output_file(options.out)
    reference, *others = [Evaluated.read(folder) for folder in (options.reference, *options.models)]
    conventions = ("lesion", "all") if reference.counts.has_lesion.any() else ("all",)
    comparisons: list[Comparison] = []
    for convention in conventions:
        comparisons += compare(reference, others, convention)
    print(describe(comparisons))
    if options.out is not None:
        write_json(options.out, [asdict(row) for row in comparisons])
        print(f"\n{options.out}")


def describe(comparisons: Sequence[Comparison]) -> str:
    """A table for the terminal, the reference named above it."""
    header = [
        "model",
        "convention",
        "Dice",
        "difference",
        "95 % interval",
        "p (Holm)",
        "false lesions",
        "p",
    ]
    rows: list[list[Cell]] = []
    for row in comparisons:
        low, high = row.interval
        interval, lesions = (
            f"{low:+.3f} to {high:+.3f}",
            f"{row.false_lesions} : {row.reference_false_lesions}",
        )
        difference = f"{row.difference:+.3f}"
        rows.append(
            [
                row.model,
                row.convention,
                row.dice,
                difference,
                interval,
                row.p_holm,
                lesions,
                row.p_false_lesions,
            ]
        )
    first = comparisons[0]
    title = f"compared with {first.reference}, {first.images} images under {first.convention}"
    return f"{title}\n\n{text_table(header, rows)}"


def compare(reference: Evaluated, others: Sequence[Evaluated], convention: str) -> list[Comparison]:
    """Each of `others` against `reference`, image by image.

    Args:
        reference: what the others are compared with.
        others: evaluations of the same images.
        convention: `paper`, `lesion` or `all`.

    Raises:
        InputError: another set of images or other masks, or none that the convention includes.
    """
    paired = [in_order_of(reference, other) for other in others]
    rows = included(reference.counts, convention)
    if not rows.any():
        raise InputError(
            reference.name,
            f"holds no images that {convention} includes",
            "choose another convention",
        )
    first = image_scores(reference.counts, convention)["dice"]
    second = [image_scores(other.counts, convention)["dice"] for other in paired]
    p_values = [signed_rank_p(scores - first) for scores in second]
    groups = [group for group, chosen in zip(reference.groups, rows, strict=True) if chosen]
    normal = ~reference.counts.has_lesion
    return [
        Comparison(
            model=other.name,
            reference=reference.name,
            convention=convention,
            images=len(first),
            dice=float(scores.mean()),
            reference_dice=float(first.mean()),
            difference=float((scores - first).mean()),
            interval=bootstrap_interval(scores - first, groups),
            p=p,
            p_holm=p_holm,
            false_lesions=int(other.false_lesion[normal].sum()),
            reference_false_lesions=int(reference.false_lesion[normal].sum()),
            p_false_lesions=mcnemar_p(other.false_lesion[normal], reference.false_lesion[normal]),
        )
        for other, scores, p, p_holm in zip(paired, second, p_values, holm(p_values), strict=True)
    ]


def in_order_of(reference: Evaluated, other: Evaluated) -> Evaluated:
    """`other` with its images in the order of `reference`.

    Raises:
        InputError: they are not the same images with the same masks.
    """
    place = {file: row for row, file in enumerate(other.files)}
    mend = "evaluate both on one data set, split and subset"
    if len(place) != len(other.files) or set(place) != set(reference.files):
        raise InputError(other.name, f"holds other images than {reference.name}", mend)
    order = np.array([place[file] for file in reference.files])
    counts = other.counts[order]
    same = (counts.tp + counts.fn == reference.counts.tp + reference.counts.fn).all()
    if not (same and (counts.fp + counts.tn == reference.counts.fp + reference.counts.tn).all()):
        raise InputError(other.name, f"was scored against other masks than {reference.name}", mend)
    return Evaluated(
        other.name, reference.files, reference.groups, counts, other.false_lesion[order]
    )


def signed_rank_p(differences: NDArray[np.float64]) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that paired `differences` (N,) centre on 0; 1 if all are 0."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences, zero_method="pratt").pvalue) if differences.any() else 1.0


def mcnemar_p(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float | None:
    """Two-sided exact p that two paired yes-no answers (N,) have the same rate; None if N = 0."""
    from scipy.stats import binomtest

    only_one, only_other = int((one & ~other).sum()), int((other & ~one).sum())
    if not len(one):
        return None
    return (
        float(binomtest(only_one, only_one + only_other).pvalue) if only_one + only_other else 1.0
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted for their number by Holm's step-down method (1979), in the order given."""
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(1, np.maximum.accumulate(np.asarray(p_values)[order] * factors))
    result = np.empty(len(p_values))
    result[order] = adjusted
    return [float(p) for p in result]
