"""The tables that the paper does not have: intervals, tests, leakage, borders, normal images and costs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np

from sonoseg.core.intervals import bootstrap_interval, difference_interval
from sonoseg.core.metrics import CONVENTIONS, included
from sonoseg.evaluate.paired_tests import signed_rank_p
from sonoseg.report.tables import Cell, interval_text
from sonoseg.reproduction.jobs import BUNDLED_MODEL
from sonoseg.reproduction.model_results import ModelResults, differ_in_start
from sonoseg.reproduction.paper_tables import (
    PAIRED_HEADER,
    REFERENCE,
    paired_cells,
    whole,
)
from sonoseg.reproduction.report_table import ReportTable

Rows = Sequence[ModelResults]


def overview(rows: Rows, split: str) -> ReportTable:
    """Returns Dice under the three conventions with intervals, the best model first."""
    header = ["model", "validation, lesion"]
    for convention in CONVENTIONS:
        header += [convention, f"{convention}, 95 % interval"]
    cells: list[list[Cell]] = []
    for row in sorted(_done(rows), key=_test_dice, reverse=True):
        line: list[Cell] = [
            row.label,
            row.mean("validation", "conventions", "lesion", "dice"),
        ]
        for convention in CONVENTIONS:
            line.append(float(row.scores(convention, "dice").mean()))
            line.append(interval_text(row.interval(convention)))
        cells.append(line)
    return ReportTable(
        name=f"dice-{split}",
        title=f"All models, split {split}, the best first",
        caption="Test Dice under the three conventions, with bootstrap intervals that draw near-copies together.",
        header=tuple(header),
        rows=cells,
    )


def _done(rows: Rows) -> Iterator[ModelResults]:
    return (row for row in rows if row.done)


def _test_dice(row: ModelResults) -> float:
    return float(row.scores("lesion", "dice").mean())


def normals(rows: Rows, split: str) -> ReportTable:
    """Returns false findings on normal images, missed lesions, and the calibration error."""
    cells: list[list[Cell]] = []
    for row in _done(rows):
        missed = []
        for test in row.tests:
            found_pixels = test.counts.tp[test.counts.has_lesion]
            missed.append((found_pixels == 0).mean())
        line: list[Cell] = [
            row.label,
            row.mean("test", "normals", "any_false_positive"),
            row.mean("test", "normals", "false_lesion"),
            float(np.mean(missed)),
            row.mean("test", "calibration_error"),
        ]
        cells.append(line)
    return ReportTable(
        name=f"normals-{split}",
        title=f"Normal images and calibration, split {split}",
        caption="Shares of the test images without lesion; share of the lesions of which no pixel is found; expected"
        " calibration error over pixels.",
        header=(
            "model",
            "normals with a false pixel",
            "normals with a false lesion",
            "lesions missed",
            "calibration error",
        ),
        rows=cells,
    )


def borders(rows: Rows, split: str) -> ReportTable:
    """Returns the distances between predicted and reference borders."""
    cells: list[list[Cell]] = []
    for row in _done(rows):
        line: list[Cell] = [row.label]
        for name in ("images", "hd95", "hd95_median", "assd"):
            line.append(row.mean("test", "surface", name))
        cells.append(line)
    return ReportTable(
        name=f"borders-{split}",
        title=f"Borders, split {split}",
        caption="95 % Hausdorff distance and average symmetric surface distance in pixels of the 224 × 224 grid, over"
        " the test images on which both the truth and the answer hold something. A model that answers seldom is judged"
        " on few.",
        header=("model", "images", "HD95, mean", "HD95, median", "ASSD, mean"),
        rows=cells,
    )


def leak(rows: Rows, split: str, leaked: Collection[str]) -> ReportTable:
    """Returns Dice on test images with a near-copy in training or validation, and on those without."""
    cells: list[list[Cell]] = []
    for row in _done(rows):
        test = row.tests[0]
        is_leaked = np.array([name in leaked for name in test.files])
        copies = is_leaked[included(test.counts, "lesion")]
        scores = row.scores("lesion", "dice")
        groups = np.array(row.groups("lesion"))
        with_copy = scores[copies]
        without = scores[~copies]
        if not (len(with_copy) and len(without)):
            continue
        low, high = difference_interval(
            with_copy, without, list(groups[copies]), list(groups[~copies])
        ) or (None, None)
        mean_with = float(with_copy.mean())
        mean_without = float(without.mean())
        cells.append(
            [row.label, mean_with, mean_without, mean_with - mean_without, low, high]
        )
    return ReportTable(
        name=f"leak-{split}",
        title=f"What near-copies are worth within split {split}",
        caption="Mean Dice lesion on the test images of which a near-copy is among the training or validation images"
        f" ({len(leaked)}, normal ones included) and on the others; the 95 % interval is of the difference, groups of"
        " near-copies drawn whole.",
        header=("model", "with a near-copy", "without", "difference", "low", "high"),
        rows=cells,
    )


def across_splits(rows: Rows) -> ReportTable:
    """Returns the scores of a model trained with and without near-copies of the test images."""
    by_name = {(row.model, row.split): row for row in _done(rows)}
    cells: list[list[Cell]] = []
    for (model, split), row in by_name.items():
        clean = by_name.get((model, f"{split}-clean"))
        if (
            clean is None
            or model == BUNDLED_MODEL
            or row.tests[0].files != clean.tests[0].files
        ):
            continue
        for convention in ("paper", "lesion"):
            own = row.scores(convention, "dice")
            own_clean = clean.scores(convention, "dice")
            difference = own_clean - own
            groups = row.groups(convention)
            low, high = bootstrap_interval(difference, groups) or (None, None)
            p = signed_rank_p(difference, groups)
            line: list[Cell] = [
                row.label,
                convention,
                float(own.mean()),
                float(own_clean.mean()),
            ]
            line += [float(difference.mean()), low, high, p]
            cells.append(line)
    return ReportTable(
        name="paper-clean",
        title="What leakage is worth: paper-clean beside paper",
        caption="The same test images after training with their near-copies (split paper) and without (paper-clean,"
        " which also has fewer training images): Dice, the mean difference image by image, its 95 % interval,"
        " Wilcoxon's p. They are over images: another seed may change more.",
        header=(
            "model",
            "convention",
            "paper",
            "paper-clean",
            "difference",
            "low",
            "high",
            "p",
        ),
        rows=cells,
    )


def costs(rows: Rows, split: str) -> ReportTable:
    """Returns parameters, operations, time and memory."""
    cells: list[list[Cell]] = []
    for row in _done(rows):
        gflops = row.cost("cost", "gflops")
        if gflops is None:
            continue
        seconds = row.cost("training_seconds")
        line: list[Cell] = [
            row.label,
            whole(row.cost("cost", "total_params")),
            whole(row.cost("cost", "trainable_params")),
            gflops,
            row.cost("epochs"),
            None if seconds is None else seconds / 60,
            row.cost("cost", "inference_ms"),
            row.cost("cost", "peak_memory_mb"),
            _of_machine(row, "device"),
            _of_machine(row, "threads"),
        ]
        cells.append(line)
    return ReportTable(
        name=f"costs-{split}",
        title=f"What it costs, split {split}",
        caption="Beside whatever else ran on the device. GFLOPs: one image forward, a multiplication and an addition"
        " counted as two. Inference: one image in PyTorch, float32. Memory: what one training step in float32 adds."
        " Times and memory can only be compared between rows of one device and number of threads.",
        header=(
            "model",
            "parameters",
            "trainable",
            "GFLOPs",
            "epochs",
            "training, min",
            "inference, ms",
            "peak memory, MB",
            "device",
            "threads",
        ),
        rows=cells,
    )


def _of_machine(row: ModelResults, name: str) -> str:
    """The device or the threads of the trainings of a row, each once."""
    found = (str(result["cost"].get(name, "?")) for result in row.results)
    return ", ".join(dict.fromkeys(found))


def seeds(rows: Rows, split: str) -> ReportTable:
    """Returns the spread of Dice over the seeds, for models with several seeds."""
    cells: list[list[Cell]] = []
    for row in rows:
        if len(row.folders) < 2:
            continue
        dice = [
            metrics["conventions"]["lesion"]["dice"] for metrics in row.metrics("test")
        ]
        line: list[Cell] = [
            row.label,
            len(dice),
            min(dice),
            float(np.mean(dice)),
            max(dice),
        ]
        line.append(float(np.std(dice, ddof=1)))
        cells.append(line)
    return ReportTable(
        name=f"seeds-{split}",
        title=f"Over seeds, split {split}",
        caption="Test Dice lesion of each training.",
        header=("model", "seeds", "lowest", "mean", "highest", "standard deviation"),
        rows=cells,
    )


def paired(rows: Rows, split: str) -> ReportTable:
    """Returns every model against Model 1, image by image."""
    first = next((row for row in _done(rows) if row.model == REFERENCE), None)
    others = [row for row in _done(rows) if row is not first]
    unlike = [row for row in others if first and differ_in_start((first, row))]
    alike = [row for row in others if row not in unlike]
    left_out = ""
    if unlike:
        names = ", ".join(row.model for row in unlike)
        left_out = f" Left out, because their encoders started from other weights than Model 1's: {names}."
    return ReportTable(
        name=f"paired-{split}",
        title=f"Is it better than Model 1, or was it luck? Split {split}",
        caption="Dice minus Model 1's, image by image, with 95 % interval, Wilcoxon's signed-rank test, and Holm's"
        f" correction over all models.{left_out}",
        header=PAIRED_HEADER,
        rows=paired_cells(alike, first),
    )
