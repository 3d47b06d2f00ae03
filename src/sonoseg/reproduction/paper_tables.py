"""The paper's tables with our numbers in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sonoseg.core.intervals import bootstrap_interval
from sonoseg.core.metrics import METRICS
from sonoseg.evaluate.compare import holm, signed_rank_p
from sonoseg.models.catalog import find_experiment
from sonoseg.report.tables import Cell
from sonoseg.reproduction.results import PAPER_LESIONS, Row, best_of, printed

SUBSET_NAMES = ("train", "validation", "test")
REFERENCE = "model-1"


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes:
        name: of its CSV file.
        title: its heading.
        caption: what it shows.
        header: names of the columns of the CSV.
        rows: its cells, numbers as they are.
        shown_header, shown_rows: the same more compactly for people; empty: as in the CSV.
    """

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: list[list[Cell]]
    shown_header: tuple[str, ...] = ()
    shown_rows: tuple[list[Cell], ...] = ()


def _beside(printed_value: float | None, own: float | None) -> str:
    """printed / ours / difference."""
    words = [f"{value:.3f}" if value is not None else "–" for value in (printed_value, own)]
    difference = (
        f"{own - printed_value:+.3f}" if own is not None and printed_value is not None else "–"
    )
    return " / ".join([*words, difference])


def _beside_printed(
    row: Row, paper: dict[str, dict[str, float | None]], convention: str
) -> tuple[list[Cell], list[Cell]]:
    """One row's cells for the CSV and for people: of every metric what is printed, ours, and the difference."""
    if not row.done:
        nothing: list[Cell] = [None] * (3 * len(METRICS) + 2)
        return [*nothing, row.failure], [row.failure, *["–"] * len(METRICS)]
    raw: list[Cell] = []
    shown: dict[str, Cell] = {}
    for metric in METRICS:
        value = None if convention == "all" else paper.get(row.model, {}).get(metric)
        if value is not None and convention == "lesion":
            value /= PAPER_LESIONS
        own = float(row.scores(convention, metric).mean())
        raw += [value, own, None if value is None else own - value]
        shown[metric] = own if convention == "all" else _beside(value, own)
    low, high = row.interval(convention)
    within = f"{low:.3f} to {high:.3f}"
    return [*raw, low, high, row.failure], [
        shown["dice"],
        within,
        *(shown[metric] for metric in SHOWN[1:]),
    ]


SHOWN = ("dice", "iou", "precision", "recall", "f1")
_SHOWN = (SHOWN[0], "Dice, 95 % interval", *SHOWN[1:])
_RAW = (
    *(f"{metric}_{side}" for metric in METRICS for side in ("paper", "ours", "difference")),
    *("dice_low", "dice_high", "failure"),
)
_CONVENTION = {
    "paper": "In each cell: paper / ours / difference. All test images, an undefined score counts 0, as in the paper.",
    "lesion": "In each cell: paper / ours / difference. Test images with a lesion; the paper's figures are its printed"
    " ones × 78/62, which is exact.",
    "all": "Ours. All test images, rightly finding nothing counts 1; the paper prints nothing to compare with.",
}


def table_1(rows: Sequence[Row], split: str, convention: str) -> Table:
    """Table 1 under one convention."""
    paper = printed("table1")
    raw: list[list[Cell]] = []
    shown: list[list[Cell]] = []
    for row in rows:
        experiment = find_experiment(row.model)
        network = experiment.network
        facts = [
            row.label,
            network.attention,
            "yes" if network.frozen else "no",
            experiment.recipe.loss,
        ]
        counts = [whole(paper[row.model]["total_params"]), whole(row.cost("cost", "total_params"))]
        for rows_so_far, cells in zip(
            (raw, shown), _beside_printed(row, paper, convention), strict=True
        ):
            rows_so_far.append([*facts, *cells, *counts])
    facts_header = ("model", "attention", "frozen", "loss")
    return Table(
        f"table1-{split}-{convention}",
        f"Table 1, split {split}, convention {convention}",
        _CONVENTION[convention],
        (*facts_header, *_RAW, "parameters_paper", "parameters_ours"),
        raw,
        (*facts_header, *_SHOWN, "parameters, paper", "ours"),
        tuple(shown),
    )


def whole(value: float | None) -> int | None:
    """A mean of whole numbers that are all the same."""
    return None if value is None else int(value)


def table_2(rows: Sequence[Row], split: str) -> Table:
    """Table 2: the AUC over pixels on the three subsets."""
    paper = printed("auc")
    raw: list[list[Cell]] = []
    shown: list[list[Cell]] = []
    for row in (row for row in rows if row.done):
        pairs = [
            (paper.get(row.model, {}).get(f"{name}_auc"), row.mean(name, "auc"))
            for name in SUBSET_NAMES
        ]
        raw.append([row.label, *(value for pair in pairs for value in pair)])
        shown.append([row.label, *(_beside(*pair) for pair in pairs)])
    columns = tuple(f"{name}_auc_{side}" for name in SUBSET_NAMES for side in ("paper", "ours"))
    caption = "Area under the ROC curve over pixels: paper / ours / difference. The paper gives it for six models."
    header = ("model", *SUBSET_NAMES)
    return Table(
        f"table2-{split}",
        f"Table 2, split {split}: AUC",
        caption,
        ("model", *columns),
        raw,
        header,
        tuple(shown),
    )


def table_5(rows: Sequence[Row], split: str) -> Table:
    """Table 5: the five rivals beside Model 1."""
    cells = [(row.label, *_beside_printed(row, printed("table5"), "paper")) for row in rows]
    return Table(
        f"table5-{split}",
        f"Table 5, split {split}: the rivals beside Model 1, convention paper",
        "In each cell: paper / ours / difference. All are trained by one recipe on one split. A reconstruction is built"
        " from an abstract or a title: its figures say little of the network that its authors built.",
        ("model", *_RAW),
        [[name, *raw] for name, raw, _ in cells],
        ("model", *_SHOWN),
        tuple([name, *shown] for name, _, shown in cells),
    )


def table_6(rivals: Sequence[Row], rows: Sequence[Row], split: str) -> Table:
    """Table 6: the five rivals against our own best."""
    best = best_of(rows)
    name = best.label if best else ""
    return Table(
        f"table6-{split}",
        f"Table 6, split {split}: the rivals against our best",
        f"Our best by validation Dice is {name}. Dice of the rival minus its, image by image, with 95 % interval,"
        " Wilcoxon's signed-rank test, and Holm's correction over the rivals.",
        *paired_cells([row for row in rivals if row.done], best),
    )


def paired_cells(
    rows: Sequence[Row], reference: Row | None
) -> tuple[tuple[str, ...], list[list[Cell]]]:
    """Header and cells: Dice of each of `rows` minus that of `reference`, under `lesion` and `all`, with its tests."""
    header = ("model", "convention", "Dice", "difference", "low", "high", "p", "p (Holm)")
    cells: list[list[Cell]] = []
    for convention in ("lesion", "all") if reference else ():
        assert reference is not None
        differences = [
            row.scores(convention, "dice") - reference.scores(convention, "dice") for row in rows
        ]
        p_values = [signed_rank_p(difference) for difference in differences]
        for row, difference, p, adjusted in zip(
            rows, differences, p_values, holm(p_values), strict=True
        ):
            low, high = bootstrap_interval(difference, reference.groups(convention))
            mean = float(row.scores(convention, "dice").mean())
            cells.append(
                [row.label, convention, mean, float(difference.mean()), low, high, p, adjusted]
            )
    return header, cells
