"""The paper's tables with our numbers beside the printed ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.metrics import METRICS
from sonoseg.data.splits import SUBSETS
from sonoseg.evaluate.paired_tests import holm, signed_rank_p
from sonoseg.models.catalog import find_experiment
from sonoseg.report.tables import Cell, interval_text
from sonoseg.reproduction.model_results import (
    PAPER_LESIONS,
    ModelResults,
    best_of,
    printed,
)
from sonoseg.reproduction.report_table import ReportTable

REFERENCE = "model-1"
Printed = Mapping[str, Mapping[str, float | None]]
"""Model → column → value, see `model_results.printed`."""
SHOWN_METRICS = ("dice", "iou", "precision", "recall", "f1")
SHOWN_HEADER = ("dice", "Dice, 95 % interval", "iou", "precision", "recall", "f1")
CAPTIONS = {
    "paper": "In each cell: paper / ours / difference. All test images, an undefined score counts 0, as in the paper.",
    "lesion": "In each cell: paper / ours / difference. Test images with a lesion; the paper's figures are its printed"
    " ones × 78/62, which is exact.",
    "all": "Ours. All test images, rightly finding nothing counts 1; the paper prints nothing to compare with.",
}

MISPRINT = (
    " The paper's parameters of Models 19 and 20 are a typing error for 12,350,269."
)


def _csv_header() -> tuple[str, ...]:
    names = []
    for metric in METRICS:
        names += [f"{metric}_paper", f"{metric}_ours", f"{metric}_difference"]
    names += ["dice_low", "dice_high", "failure"]
    return tuple(names)


CSV_HEADER = _csv_header()


def _beside(printed_value: float | None, own: float | None) -> str:
    """printed / ours / difference."""
    difference = "–"
    if own is not None and printed_value is not None:
        difference = f"{own - printed_value:+.3f}"
    return f"{_three_decimals(printed_value)} / {_three_decimals(own)} / {difference}"


def _three_decimals(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _csv_cells(row: ModelResults, paper: Printed, convention: str) -> list[Cell]:
    """A model's cells under `CSV_HEADER`."""
    cells: list[Cell] = []
    if not row.done:
        cells += [None] * (len(CSV_HEADER) - 1)
        cells.append(row.failure)
        return cells
    for metric in METRICS:
        value = _printed_value(row.model, paper, convention, metric)
        own = float(row.scores(convention, metric).mean())
        difference = None if value is None else own - value
        cells += [value, own, difference]
    cells += [*(row.interval(convention) or (None, None)), row.failure]
    return cells


def _shown_cells(row: ModelResults, paper: Printed, convention: str) -> list[Cell]:
    """A model's cells under `SHOWN_HEADER`."""
    cells: list[Cell] = []
    if not row.done:
        cells.append(row.failure)
        cells += ["–"] * len(METRICS)
        return cells
    for metric in SHOWN_METRICS:
        own = float(row.scores(convention, metric).mean())
        if convention == "all":
            cells.append(own)
        else:
            value = _printed_value(row.model, paper, convention, metric)
            cells.append(_beside(value, own))
    cells.insert(1, interval_text(row.interval(convention)))
    return cells


def _printed_value(
    model: str, paper: Printed, convention: str, metric: str
) -> float | None:
    """What the paper prints for a metric, converted to the convention; None if it prints nothing."""
    if convention == "all" or model not in paper:
        return None
    value = paper[model].get(metric)
    if value is not None and convention == "lesion":
        return value / PAPER_LESIONS
    return value


def table_1(rows: Sequence[ModelResults], split: str, convention: str) -> ReportTable:
    """Returns Table 1 under one convention."""
    paper = printed("table1")
    csv_rows: list[list[Cell]] = []
    shown_rows: list[list[Cell]] = []
    for row in rows:
        experiment = find_experiment(row.model)
        network = experiment.network
        is_frozen = "yes" if network.frozen else "no"
        facts: list[Cell] = [
            row.label,
            network.attention,
            is_frozen,
            experiment.recipe.loss,
        ]
        counts: list[Cell] = [
            whole(paper[row.model]["total_params"]),
            whole(row.cost("cost", "total_params")),
        ]
        csv_rows.append(facts + _csv_cells(row, paper, convention) + counts)
        shown_rows.append(facts + _shown_cells(row, paper, convention) + counts)
    facts_header = ("model", "attention", "frozen", "loss")
    return ReportTable(
        name=f"table1-{split}-{convention}",
        title=f"Table 1, split {split}, convention {convention}",
        caption=CAPTIONS[convention] + MISPRINT,
        header=facts_header + CSV_HEADER + ("parameters_paper", "parameters_ours"),
        rows=csv_rows,
        shown_header=facts_header + SHOWN_HEADER + ("parameters, paper", "ours"),
        shown_rows=tuple(shown_rows),
    )


def whole(value: float | None) -> int | None:
    """Returns a mean of equal whole numbers as a whole number."""
    return None if value is None else int(value)


def table_2(rows: Sequence[ModelResults], split: str) -> ReportTable:
    """Returns Table 2: the AUC over pixels on the three subsets."""
    paper = printed("auc")
    header = ["model"]
    for subset in SUBSETS:
        header += [f"{subset}_auc_paper", f"{subset}_auc_ours"]
    csv_rows: list[list[Cell]] = []
    shown_rows: list[list[Cell]] = []
    for row in rows:
        if not row.done:
            continue
        csv_row: list[Cell] = [row.label]
        shown_row: list[Cell] = [row.label]
        for subset in SUBSETS:
            value = paper.get(row.model, {}).get(f"{subset}_auc")
            own = row.mean(subset, "auc")
            csv_row += [value, own]
            shown_row.append(_beside(value, own))
        csv_rows.append(csv_row)
        shown_rows.append(shown_row)
    return ReportTable(
        name=f"table2-{split}",
        title=f"Table 2, split {split}: AUC",
        caption="Area under the ROC curve over pixels: paper / ours / difference."
        " The paper gives it for six models.",
        header=tuple(header),
        rows=csv_rows,
        shown_header=("model", *SUBSETS),
        shown_rows=tuple(shown_rows),
    )


def table_5(rows: Sequence[ModelResults], split: str) -> ReportTable:
    """Returns Table 5: the five rivals beside Model 1."""
    paper = printed("table5")
    csv_rows: list[list[Cell]] = []
    shown_rows: list[list[Cell]] = []
    for row in rows:
        name: list[Cell] = [row.label]
        csv_rows.append(name + _csv_cells(row, paper, "paper"))
        shown_rows.append(name + _shown_cells(row, paper, "paper"))
    return ReportTable(
        name=f"table5-{split}",
        title=f"Table 5, split {split}: the rivals beside Model 1, convention paper",
        caption="In each cell: paper / ours / difference. All are trained by one recipe on one split. A reconstruction"
        " is built from an abstract or a title: its figures say little of the network that its authors built.",
        header=("model", *CSV_HEADER),
        rows=csv_rows,
        shown_header=("model", *SHOWN_HEADER),
        shown_rows=tuple(shown_rows),
    )


def table_6(
    rivals: Sequence[ModelResults], rows: Sequence[ModelResults], split: str
) -> ReportTable:
    """Returns Table 6: the five rivals against our best model."""
    best = best_of(rows)
    name = best.label if best else ""
    return ReportTable(
        name=f"table6-{split}",
        title=f"Table 6, split {split}: the rivals against our best",
        caption=f"Our best by validation Dice is {name}. Dice of the rival minus its, image by image, with 95 %"
        " interval, Wilcoxon's signed-rank test, and Holm's correction over the rivals.",
        header=PAIRED_HEADER,
        rows=paired_cells([row for row in rivals if row.done], best),
    )


PAIRED_HEADER = (
    "model",
    "convention",
    "Dice",
    "difference",
    "low",
    "high",
    "p",
    "p (Holm)",
)


def paired_cells(
    rows: Sequence[ModelResults], reference: ModelResults | None
) -> list[list[Cell]]:
    """Returns cells under `PAIRED_HEADER`: Dice of each of `rows` minus Dice of `reference`, with its tests.

    There is one row per model under `lesion` and one under `all`; none without a reference.
    """
    cells: list[list[Cell]] = []
    if reference is None:
        return cells
    for convention in ("lesion", "all"):
        reference_scores = reference.scores(convention, "dice")
        groups = reference.groups(convention)
        scores = [row.scores(convention, "dice") for row in rows]
        p_values = [signed_rank_p(own - reference_scores, groups) for own in scores]
        corrected = holm(p_values)
        for row, own, p, p_holm in zip(rows, scores, p_values, corrected, strict=True):
            difference = own - reference_scores
            low, high = bootstrap_interval(difference, groups) or (None, None)
            line: list[Cell] = [row.label, convention, float(own.mean())]
            line += [float(difference.mean()), low, high, p, p_holm]
            cells.append(line)
    return cells
