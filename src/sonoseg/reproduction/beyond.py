"""The tables that the paper does not have: intervals, tests, leakage, borders, normal images, costs, explanations."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from sonoseg.core.intervals import bootstrap_interval, difference_interval
from sonoseg.core.metrics import CONVENTIONS, included
from sonoseg.evaluate.compare import signed_rank_p
from sonoseg.explain.verdict import QUESTIONS, claim_rows
from sonoseg.models.catalog import find_experiment
from sonoseg.report.tables import Cell
from sonoseg.reproduction.jobs import SHIPPED
from sonoseg.reproduction.paper_tables import REFERENCE, Table, paired_cells, whole
from sonoseg.reproduction.results import Row


def overview(rows: Sequence[Row], split: str) -> Table:
    """Dice under the three conventions with intervals, best first."""
    done = sorted(
        (row for row in rows if row.done),
        key=lambda row: -float(row.scores("lesion", "dice").mean()),
    )
    cells: list[list[Cell]] = []
    for row in done:
        line: list[Cell] = [row.label, row.mean("validation", "conventions", "lesion", "dice")]
        for convention in CONVENTIONS:
            low, high = row.interval(convention)
            line += [float(row.scores(convention, "dice").mean()), f"{low:.3f} to {high:.3f}"]
        cells.append(line)
    header = (
        "model",
        "validation, lesion",
        *(word for name in CONVENTIONS for word in (name, f"{name}, 95 % interval")),
    )
    caption = "Test Dice under the three conventions, with bootstrap intervals that draw near-copies together."
    return Table(
        f"dice-{split}", f"All models, split {split}, the best first", caption, header, cells
    )


def normals(rows: Sequence[Row], split: str) -> Table:
    """What is drawn where there is nothing, and how far the probabilities can be believed."""
    cells: list[list[Cell]] = [
        [
            row.label,
            row.mean("test", "normals", "any_false_positive"),
            row.mean("test", "normals", "false_lesion"),
            float(
                np.mean([(test.counts.tp[test.counts.has_lesion] == 0).sum() for test in row.tests])
            ),
            row.mean("test", "calibration_error"),
        ]
        for row in rows
        if row.done
    ]
    header = (
        "model",
        "normals with a false pixel",
        "normals with a false lesion",
        "lesions missed",
        "calibration error",
    )
    caption = (
        "Shares of the test images without lesion; lesions of which no pixel is found; expected calibration error over"
        " pixels."
    )
    return Table(
        f"normals-{split}", f"Normal images and calibration, split {split}", caption, header, cells
    )


def borders(rows: Sequence[Row], split: str) -> Table:
    """How far the outlines lie apart."""
    cells: list[list[Cell]] = [
        [
            row.label,
            *(
                row.mean("test", "surface", name)
                for name in ("images", "hd95", "hd95_median", "assd")
            ),
        ]
        for row in rows
        if row.done
    ]
    header = ("model", "images", "HD95, mean", "HD95, median", "ASSD, mean")
    caption = (
        "95 % Hausdorff distance and average symmetric surface distance in pixels of the 224 × 224 grid, over the test"
        " images on which both the truth and the answer hold something. A model that answers seldom is judged on few."
    )
    return Table(f"borders-{split}", f"Borders, split {split}", caption, header, cells)


def leak(rows: Sequence[Row], split: str, leaked: Collection[str]) -> Table:
    """Test images that have a near-copy in training or validation, and those that have none."""
    cells: list[list[Cell]] = []
    for row in (row for row in rows if row.done):
        test = row.tests[0]
        copies = np.array([name in leaked for name in test.files])[included(test.counts, "lesion")]
        scores = row.scores("lesion", "dice")
        with_copy, without = scores[copies], scores[~copies]
        if len(with_copy) and len(without):
            groups = np.array(row.groups("lesion"))
            low, high = difference_interval(
                with_copy, without, list(groups[copies]), list(groups[~copies])
            )
            means = float(with_copy.mean()), float(without.mean())
            cells.append([row.label, *means, means[0] - means[1], low, high])
    header = ("model", "with a near-copy", "without", "difference", "low", "high")
    caption = (
        f"Mean Dice lesion on the test images of which a near-copy is among the training or validation images"
        f" ({len(leaked)}, normal ones included) and on the others; the 95 % interval is of the difference,"
        f" groups of near-copies drawn whole."
    )
    return Table(
        f"leak-{split}", f"What near-copies are worth within split {split}", caption, header, cells
    )


def across_splits(rows: Sequence[Row]) -> Table:
    """The same model trained with and without near-copies of the test images, which both splits share."""
    by_name = {(row.model, row.split): row for row in rows if row.done}
    cells: list[list[Cell]] = []
    for (model, split), row in by_name.items():
        clean = by_name.get((model, f"{split}-clean"))
        if clean is None or model == SHIPPED or row.tests[0].files != clean.tests[0].files:
            continue
        for convention in ("paper", "lesion"):
            difference = clean.scores(convention, "dice") - row.scores(convention, "dice")
            low, high = bootstrap_interval(difference, row.groups(convention))
            means = [float(each.scores(convention, "dice").mean()) for each in (row, clean)]
            cells.append(
                [
                    row.label,
                    convention,
                    *means,
                    float(difference.mean()),
                    low,
                    high,
                    signed_rank_p(difference),
                ]
            )
    header = ("model", "convention", "paper", "paper-clean", "difference", "low", "high", "p")
    caption = (
        "The same test images after training with their near-copies (split paper) and without (paper-clean, which also"
        " has fewer training images): Dice, the mean difference image by image, its 95 % interval, Wilcoxon's p. They"
        " are over images: another seed may change more."
    )
    return Table(
        "paper-clean", "What leakage is worth: paper-clean beside paper", caption, header, cells
    )


def costs(rows: Sequence[Row], split: str) -> Table:
    """Parameters, operations, time and memory."""
    cells: list[list[Cell]] = []
    for row in (row for row in rows if row.done and row.cost("cost", "gflops") is not None):
        counts = [whole(row.cost("cost", name)) for name in ("total_params", "trainable_params")]
        seconds = row.cost("training_seconds")
        times = [
            row.cost("epochs"),
            None if seconds is None else seconds / 60,
            row.cost("cost", "inference_ms"),
        ]
        cells.append(
            [
                row.label,
                *counts,
                row.cost("cost", "gflops"),
                *times,
                row.cost("cost", "peak_memory_mb"),
            ]
        )
    result = next((row.results[0] for row in rows if row.done and row.model != SHIPPED), None)
    cost = result["cost"] if result else {"device": "?", "threads": 0}
    header = (
        "model",
        "parameters",
        "trainable",
        "GFLOPs",
        "epochs",
        "training, min",
        "inference, ms",
        "peak memory, MB",
    )
    caption = (
        f"On {cost['device']}, {cost['threads']} thread(s), beside whatever else ran. GFLOPs: one image forward, a"
        " multiplication and an addition counted as two. Inference: one image in PyTorch, float32. Memory: what one"
        " training step in float32 adds."
    )
    return Table(f"costs-{split}", f"What it costs, split {split}", caption, header, cells)


def seeds(rows: Sequence[Row], split: str) -> Table:
    """Each seed's Dice, where there are several."""
    cells: list[list[Cell]] = []
    for row in (row for row in rows if len(row.folders) > 1):
        every = [metrics["conventions"]["lesion"]["dice"] for metrics in row.metrics("test")]
        cells.append(
            [
                row.label,
                len(every),
                min(every),
                float(np.mean(every)),
                max(every),
                float(np.std(every, ddof=1)),
            ]
        )
    header = ("model", "seeds", "lowest", "mean", "highest", "standard deviation")
    return Table(
        f"seeds-{split}",
        f"Over seeds, split {split}",
        "Test Dice lesion of each training.",
        header,
        cells,
    )


_MEASURES = {
    "heat in lesion": "share",
    "flat map": "share_flat",
    "pointing": "pointing",
    "IoU": "iou",
    "border, px": "border_distance",
    "deletion": "deletion",
    "deletion, random": "deletion_random",
    "insertion": "insertion",
    "insertion, random": "insertion_random",
    "ρ, decoder random": "similarity_decoder",
    "ρ, all random": "similarity_all",
}


def explanations(rows: Sequence[Row], split: str) -> Table:
    """Every measure of every model's heat maps, a row a layer."""
    cells: list[list[Cell]] = []
    raw: list[list[Cell]] = []
    names = list(_MEASURES.values())
    for row in rows:
        for layer, measures in (row.explanations or {"layers": {}})["layers"].items():
            found = [
                measures.get(name) or {"mean": None, "interval": None, "n": 0} for name in names
            ]
            cells.append([row.label, layer, *(value["mean"] for value in found)])
            ends = [
                end
                for value in found
                for end in (value["mean"], *(value["interval"] or (None, None)))
            ]
            raw.append([row.label, layer, *ends])
    columns = tuple(f"{name}{end}" for name in names for end in ("", "_low", "_high"))
    images = max((row.explanations["images"] for row in rows if row.explanations), default=0)
    caption = (
        f"Means over {images} test images with a lesion, spread evenly over the test set; intervals are in the CSV."
        " Heat in lesion: share of the heat that lies in it, beside what a flat map gets. Deletion should be small and"
        " insertion large, each beside a random order. ρ: rank correlation with the map of random weights; a map that"
        " survives them explains nothing."
    )
    title = f"Is the explanation true? Split {split}"
    return Table(
        f"explanations-{split}",
        title,
        caption,
        ("model", "layer", *columns),
        raw,
        ("model", "layer", *_MEASURES),
        tuple(cells),
    )


def claim(rows: Sequence[Row], split: str) -> Table:
    """Whether the claim holds that the models look at the right place."""
    cells: list[list[Cell]] = []
    for row in (row for row in rows if row.explanations):
        assert row.explanations is not None
        attention = find_experiment(row.model).network.attention
        cells += [[row.label, attention, *line[1:]] for line in claim_rows([row.explanations])]
    caption = (
        "Answers by the 95 % intervals of the table above: yes, no, or unclear where an interval lies on both sides."
        " The paper says that models with attention look at the right place; compare those with CBAM and Non-Local to"
        " those without."
    )
    header = ("model", "attention", "layer", *QUESTIONS)
    return Table(f"claim-{split}", f"Does the claim hold? Split {split}", caption, header, cells)


def paired(rows: Sequence[Row], split: str) -> Table:
    """Every model against Model 1, image by image."""
    first = next((row for row in rows if row.model == REFERENCE and row.done), None)
    others = [row for row in rows if row.done and row is not first]
    return Table(
        f"paired-{split}",
        f"Is it better than Model 1, or was it luck? Split {split}",
        "Dice minus Model 1's, image by image, with 95 % interval, Wilcoxon's signed-rank test, and Holm's correction"
        " over all models.",
        *paired_cells(others, first),
    )
