"""The scores of an evaluation as text for the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonoseg.core.metrics import CONVENTIONS, METRICS
from sonoseg.evaluate.judge import describe_malignancy
from sonoseg.evaluate.predictors import CONSTANTS
from sonoseg.evaluate.sizes import describe_sizes
from sonoseg.evaluate.subgroups import describe_subgroups
from sonoseg.evaluate.surface import describe_surface
from sonoseg.report.tables import Cell, interval_text, text_table
from sonoseg.train.record import Record


def describe(metrics: dict[str, Any]) -> str:
    """Returns a table of the conventions, one of lesions by kind, and lines on normal images, AUC, calibration, borders
    and sizes.

    Args:
        metrics: what `evaluate` returns.
    """
    header = ["convention", *METRICS, "Dice, 95 % interval"]
    rows: list[list[Cell]] = []
    for convention in CONVENTIONS:
        scores = metrics["conventions"][convention]
        row: list[Cell] = [convention]
        row += [scores[metric] for metric in METRICS]
        row.append(interval_text(scores["dice_interval"]))
        rows.append(row)
    lines = [text_table(header, rows)]
    lines += describe_subgroups(metrics["lesions"]) or [""]
    lines += _describe_normals(metrics["normals"])
    if metrics["auc"] is not None:
        lines.append(f"AUC over pixels: {metrics['auc']:.4f}")
    lines.append(
        f"expected calibration error over pixels: {metrics['calibration_error']:.4f}"
    )
    lines.append(describe_surface(metrics["surface"]))
    lines += describe_sizes(metrics["sizes"])
    lines += describe_malignancy(metrics)
    return "\n".join(lines)


def _describe_normals(normals: dict[str, Any]) -> list[str]:
    """One line per kind of false finding; none if there are no normal images."""
    if not normals["images"]:
        return []
    start = f"{normals['images']} images without lesion:"
    return [
        f"{start} {normals['any_false_positive']:.1%} with a false-positive pixel",
        f"{start} {normals['false_lesion']:.1%} with a false lesion",
    ]


def describe_split(
    note: str, data: Path, split: str, leaked: int | None, images: int
) -> list[str]:
    """Returns the lines about images that the split leaves out, and about near-copies elsewhere in it.

    Args:
        note: about images that the split leaves out; "" if there are none.
        data: the data set.
        split: the split.
        leaked: images of the evaluation that have a near-copy elsewhere in the split; None if nobody knows.
        images: of the evaluation.
    """
    lines = [note] if note else []
    if leaked is None:
        lines.append(
            "whether images have near-copies elsewhere in the split is not known:"
        )
        lines.append(f"sonoseg data check {data} --split {split} finds them")
    if not leaked:
        return lines
    found = f"{leaked} of these {images} images have a near-copy, or another image of their patient,"
    return [
        *lines,
        f"{found} elsewhere in {split}:",
        "of a network trained on that, part of the score is memory; grouped keeps them apart",
    ]


def describe_memory(metrics: dict[str, Any], record: Record | None) -> list[str]:
    """Returns one line for each kind of image that the network has seen before.

    Args:
        metrics: what `evaluate` returns.
        record: which images a run was trained on; None if that is not recorded, as for a bundle.
    """
    about = metrics["about"]
    if about["trained_on"] is None and metrics["model"]["name"] not in CONSTANTS:
        return ["on which images this network was trained is not recorded in it"]
    of_these = f"of these {metrics['images']} images were used to"
    lines: list[str] = []
    if about["trained_on"]:
        trained = f"{about['trained_on']} {of_these} train this network"
        lines.append(f"{trained}: their scores are memory")
    if about["chosen_on"]:
        lines.append(
            f"{about['chosen_on']} {of_these} choose the epoch of this network"
        )
    if record is not None and not record.complete:
        lines.append(
            "on which images the runs that it began from were trained is not recorded"
        )
    return lines
