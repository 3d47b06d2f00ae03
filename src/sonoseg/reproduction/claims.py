"""The paper's claims, one row each: the printed number, the number found here, and whether the claim holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from sonoseg.core.intervals import Interval, bootstrap_interval
from sonoseg.evaluate.paired_tests import holm, signed_rank_p
from sonoseg.models.catalog import RIVALS, TABLE_1, Recipe
from sonoseg.report.tables import Cell
from sonoseg.reproduction.model_results import (
    PAPER_LESIONS,
    ModelResults,
    differ_in_start,
    printed,
)
from sonoseg.reproduction.paper_tables import REFERENCE, Printed
from sonoseg.reproduction.report_table import ReportTable

HEADER = (
    "the paper",
    "compared",
    "printed",
    "here",
    "low",
    "high",
    "p",
    "p (Holm)",
    "answer",
)
NOT_RUN = "not run"
UNCLEAR = "undecided"
TOO_FAR = "the printed difference is outside our interval"
OTHER_START = f"{UNCLEAR}: their encoders started from different weights"
FEWEST_EPOCHS = Recipe().epochs // 2
"""A training that was cut off before this epoch decides no claim."""
ORDERED = tuple(row.name for row in TABLE_1[:16])
"""The models that the paper ranks. It prints 17 to 20 as failed."""
VALUES = (
    ("The Dice of Model 1, the best", "model-1"),
    ("Model 19 finds nothing", "model-19"),
    ("Model 20 calls everything lesion", "model-20"),
    ("Model 17 calls everything lesion", "model-17"),
    ("Model 18 calls everything lesion", "model-18"),
)
"""Claim and model. Its Dice `paper` is compared with the printed one."""
PAIRS = (
    ("CBAM is better than no attention, BCE", "model-1", "model-7"),
    ("CBAM is better than no attention, Dice loss", "model-2", "model-8"),
    ("CBAM is better than Non-Local, BCE", "model-1", "model-3"),
    ("CBAM is better than Non-Local, Dice loss", "model-2", "model-4"),
    ("Non-Local is better than no attention, BCE", "model-3", "model-7"),
    ("No attention is better than Non-Local, Dice loss", "model-8", "model-4"),
    ("BCE is better than Dice loss, CBAM", "model-1", "model-2"),
    ("BCE is better than Dice loss, Non-Local", "model-3", "model-4"),
    ("BCE is better than Dice loss, no attention", "model-7", "model-8"),
    ("Three encoders are better than two, BCE", "model-7", "model-19"),
    ("Three encoders are better than two, Dice loss", "model-8", "model-20"),
    ("Trained encoders are better than frozen, CBAM, BCE", "model-1", "model-12"),
    ("Trained encoders are better than frozen, CBAM, Dice loss", "model-2", "model-10"),
    ("Trained encoders are better than frozen, Non-Local, BCE", "model-3", "model-11"),
    (
        "Trained encoders are better than frozen, Non-Local, Dice loss",
        "model-4",
        "model-9",
    ),
    (
        "Trained encoders are better than frozen, no attention, BCE",
        "model-7",
        "model-6",
    ),
    (
        "Trained encoders are better than frozen, no attention, Dice loss",
        "model-8",
        "model-5",
    ),
)
"""Claim, the model that is better in the paper, and the other model."""


def claims(rows: Sequence[ModelResults], split: str) -> ReportTable:
    """Returns what became of each claim about Dice, on one split."""
    by_name = {row.model: row for row in rows if row.done}
    paper: Printed = {**printed("table5"), **printed("table1")}
    cells = [_order(by_name, paper)]
    for claim, model in VALUES:
        cells.append(_value(claim, model, by_name.get(model), paper))
    pairs = [
        _pair(claim, better, other, by_name, paper) for claim, better, other in PAIRS
    ]
    for rival in RIVALS:
        claim = "Model 1 is better than the rivals"
        pairs.append(_pair(claim, REFERENCE, rival.name, by_name, paper))
    _correct(pairs)
    cells += pairs
    return ReportTable(
        name=f"claims-{split}",
        title=f"Does the paper hold? Split {split}",
        caption="Differences are of Dice lesion on the test images, image by image, with 95 % interval, Wilcoxon's"
        " signed-rank test (both take near-copies together), and Holm's correction over the differences; printed ones"
        " are × 78/62. Values are Dice paper. A claim holds, or does not, where the interval says so. Intervals are"
        " over images: another seed may change more. A training that was cut off before epoch"
        f" {FEWEST_EPOCHS} answers nothing. Nor do models whose encoders started from different weights.",
        header=HEADER,
        rows=cells,
    )


def rank_correlation(
    one: NDArray[np.float64], other: NDArray[np.float64]
) -> tuple[float, float] | None:
    """Returns Spearman's rank correlation of (N,) and (N,) values, and its two-sided p.

    Equal values share the mean of their ranks. None if all values of a side are equal: they have no order. The p is
    exact up to eight values. Above that it comes from 100,000 random orders with a fixed seed and the given order, so
    it is never 0 (Phipson and Smyth 2010).
    """
    ranks, other_ranks = rankdata(one), rankdata(other)
    if not (np.ptp(ranks) and np.ptp(other_ranks)):
        return None
    if len(ranks) <= 8:
        orders = np.array(list(permutations(ranks)))
    else:
        copies = np.tile(np.sort(ranks), (100_000, 1))
        shuffled = np.random.default_rng(0).permuted(copies, axis=1)
        orders = np.vstack([shuffled, ranks])
    found = float(_spearman(ranks, other_ranks))
    by_chance = np.abs(_spearman(orders, other_ranks))
    is_as_far = by_chance >= abs(found) - 1e-12
    return found, float(is_as_far.mean())


def _spearman(
    ranks: NDArray[np.float64], other_ranks: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Rank correlations (…) of ranks (…, N) with (N,)."""
    middle = (len(other_ranks) + 1) / 2
    own, others = ranks - middle, other_ranks - middle
    squares = (own**2).sum(-1) * (others**2).sum()
    return np.asarray((own * others).sum(-1) / np.sqrt(squares))


def _row(
    claim: str,
    compared: str,
    answer: str,
    printed_value: float | None = None,
    here: float | None = None,
    interval: Interval | None = None,
    p: float | None = None,
) -> list[Cell]:
    """One row under `HEADER`, without Holm's correction."""
    low, high = interval or (None, None)
    return [claim, compared, printed_value, here, low, high, p, None, answer]


def _order(by_name: Mapping[str, ModelResults], paper: Printed) -> list[Cell]:
    """Whether the models are in the printed order."""
    claim = "The order of Models 1 to 16"
    names = [name for name in ORDERED if name in by_name]
    if len(names) < 3:
        return _row(claim, "rank correlation", NOT_RUN)
    own = np.array([by_name[name].scores("paper", "dice").mean() for name in names])
    theirs = np.array([paper[name]["dice"] for name in names], dtype=np.float64)
    compared = f"rank correlation of {len(names)} models"
    correlation = rank_correlation(own, theirs)
    if correlation is None:
        return _row(claim, compared, UNCLEAR, printed_value=1.0)
    found, p = correlation
    answer = UNCLEAR
    if differ_in_start([by_name[name] for name in names]):
        answer = OTHER_START
    elif p < 0.05:
        answer = "holds" if found > 0 else "does not hold"
    return _row(claim, compared, answer, printed_value=1.0, here=found, p=p)


def _value(
    claim: str, model: str, row: ModelResults | None, paper: Printed
) -> list[Cell]:
    """Whether a printed Dice lies in our interval."""
    theirs = paper[model]["dice"]
    assert theirs is not None
    if row is None:
        return _row(claim, model, NOT_RUN, theirs)
    own = float(row.scores("paper", "dice").mean())
    interval = row.interval("paper")
    if interval is None:
        answer = "the same" if round(own, 4) == theirs else UNCLEAR
    elif interval[0] > theirs:
        answer = "does not reproduce: ours is higher"
    elif interval[1] < theirs:
        answer = "does not reproduce: ours is lower"
    else:
        answer = "the printed Dice is within our interval"
    return _row(claim, row.label, answer, theirs, own, interval)


def _pair(
    claim: str,
    better: str,
    other: str,
    by_name: Mapping[str, ModelResults],
    paper: Printed,
) -> list[Cell]:
    """Whether the model that is better in the paper is better here."""
    compared = f"{better} − {other}"
    printed_better = paper[better]["dice"]
    printed_other = paper[other]["dice"]
    assert printed_better is not None and printed_other is not None
    theirs = (printed_better - printed_other) / PAPER_LESIONS
    if better not in by_name or other not in by_name:
        return _row(claim, compared, NOT_RUN, theirs)
    one = by_name[better]
    two = by_name[other]
    difference = one.scores("lesion", "dice") - two.scores("lesion", "dice")
    groups = one.groups("lesion")
    interval = bootstrap_interval(difference, groups)
    early = [
        row
        for row in (one, two)
        if row.cut_off is not None and row.cut_off < FEWEST_EPOCHS
    ]
    if early:
        answer = f"{UNCLEAR}: {early[0].label}"
    elif differ_in_start((one, two)):
        answer = OTHER_START
    else:
        answer = _answer(interval, theirs)
    p = signed_rank_p(difference, groups)
    return _row(claim, compared, answer, theirs, float(difference.mean()), interval, p)


def _answer(interval: Interval | None, theirs: float) -> str:
    """The answer that the interval of a difference gives."""
    if interval is None:
        return UNCLEAR
    low, high = interval
    if low > 0:
        return "holds"
    if high < 0:
        return "does not hold: the other way round"
    if low <= theirs <= high:
        return UNCLEAR
    return f"{UNCLEAR}, but {TOO_FAR}"


def _correct(pairs: Sequence[list[Cell]]) -> None:
    """Fills in Holm's correction over the rows that have a p."""
    column = HEADER.index("p")
    tested = [cells for cells in pairs if cells[column] is not None]
    p_values = [float(cells[column] or 0) for cells in tested]
    for cells, p in zip(tested, holm(p_values), strict=True):
        cells[column + 1] = p
