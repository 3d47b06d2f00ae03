"""The tables about heat maps: every measure, and whether the models look at the right place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonoseg.explain.verdict import QUESTIONS, claim_rows
from sonoseg.models.catalog import find_experiment
from sonoseg.report.tables import Cell
from sonoseg.reproduction.model_results import ModelResults
from sonoseg.reproduction.report_table import ReportTable

_COLUMNS = {
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
"""Column of the table for people → measure of faithfulness.json."""
_NOT_MEASURED: dict[str, Any] = {"mean": None, "interval": None, "n": 0, "groups": 0}


def explanations(rows: Sequence[ModelResults], split: str) -> ReportTable:
    """Returns every measure of every model's heat maps, one row per layer."""
    header = ["model", "layer"]
    for name in _COLUMNS.values():
        header += [name, f"{name}_low", f"{name}_high"]
    csv_rows: list[list[Cell]] = []
    shown_rows: list[list[Cell]] = []
    images = 0
    for row in rows:
        if row.explanations is None:
            continue
        images = max(images, row.explanations["images"])
        for layer, measures in row.explanations["layers"].items():
            csv_row: list[Cell] = [row.label, layer]
            shown_row: list[Cell] = [row.label, layer]
            for name in _COLUMNS.values():
                found = measures.get(name) or _NOT_MEASURED
                low, high = found["interval"] or (None, None)
                csv_row += [found["mean"], low, high]
                shown_row.append(found["mean"])
            csv_rows.append(csv_row)
            shown_rows.append(shown_row)
    return ReportTable(
        name=f"explanations-{split}",
        title=f"Is the explanation true? Split {split}",
        caption=f"Means over {images} test images with a lesion, spread evenly over the test set; intervals are in the"
        " CSV. Heat in lesion: share of the heat that lies in it, beside what a flat map gets. Deletion should be small"
        " and insertion large, each beside a random order. ρ: rank correlation with the map of random weights; a map"
        " that survives them explains nothing.",
        header=tuple(header),
        rows=csv_rows,
        shown_header=("model", "layer", *_COLUMNS),
        shown_rows=tuple(shown_rows),
    )


def claim(rows: Sequence[ModelResults], split: str) -> ReportTable:
    """Returns whether the claim holds that the models look at the right place."""
    cells: list[list[Cell]] = []
    for row in rows:
        if row.explanations is None:
            continue
        attention = find_experiment(row.model).network.attention
        for answers in claim_rows([row.explanations]):
            answers[0] = row.label  # instead of the model's name alone
            answers.insert(1, attention)
            cells.append(answers)
    return ReportTable(
        name=f"claim-{split}",
        title=f"Does the claim hold? Split {split}",
        caption="Answers by the 95 % intervals of the table above: yes, no, or unclear where an interval lies on both"
        " sides, or it is of fewer than five patients. The paper says that models with attention look at"
        " the right place; compare those with CBAM and Non-Local to those without.",
        header=("model", "attention", "layer", *QUESTIONS),
        rows=cells,
    )
